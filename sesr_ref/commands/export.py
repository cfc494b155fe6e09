"""Write a network for other programs: ONNX, safetensors, a PyTorch state dict, .npz or C."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from sesr_ref.collapse import collapsed, expand_params, expanded
from sesr_ref.commands import export_c
from sesr_ref.commands.console import notice, print_json
from sesr_ref.commands.models import add_model_argument, model_of
from sesr_ref.exchange import to_onnx
from sesr_ref.exchange.dialects import DIALECTS
from sesr_ref.exchange.formats import SAVERS
from sesr_ref.exchange.onnx.write import OPSET, OPSETS
from sesr_ref.exchange.rounding import DTYPES, collapsed_exactly, rounded
from sesr_ref.exchange.shuffle_order import with_shuffle_mode
from sesr_ref.exchange.torch.module import save_module
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params

FORMATS = (".onnx", *SAVERS, export_c.SUFFIX)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref export``."""
    add_model_argument(parser, "shipped name or file of any format")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, help=f"file to write: {', '.join(FORMATS)}"
    )
    parser.add_argument(
        "--expanded",
        action="store_true",
        help="keep linear blocks uncollapsed (in ONNX: as two convolutions and an addition)",
    )
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument(
        "--mode",
        choices=("DCR", "CRD"),
        help="write every depth-to-space in TensorFlow's or PyTorch's order (default: its own)",
    )
    onnx = parser.add_argument_group("ONNX")
    onnx.add_argument(
        "--size", type=_size, metavar="HxW|dynamic", help="input size (default: dynamic)"
    )
    onnx.add_argument(
        "--every-tensor", action="store_true", help="make each layer's tensor an output"
    )
    onnx.add_argument(
        "--opset",
        type=int,
        choices=OPSETS,
        metavar=f"{OPSETS[0]}..{OPSETS[-1]}",
        help=f"version of the operators (default {OPSET})",
    )
    weights = parser.add_argument_group("safetensors and state dicts")
    weights.add_argument(
        "--dialect", choices=sorted(DIALECTS), help="whose names and layout (default: our own)"
    )
    weights.add_argument(
        "--module",
        type=Path,
        metavar="FILE.py",
        help="with --dialect torch: write a PyTorch module too that the weights fit",
    )
    export_c.add_arguments(parser)
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")


def run(args: argparse.Namespace) -> int:
    """Load, rewrite, write, say what was written."""
    suffix = args.out.suffix.lower()
    _check_options(args, suffix)
    if suffix == export_c.SUFFIX:
        return export_c.run(args)
    net, params = model_of(args)
    if args.expanded and collapsed(net) == net:
        notice(f"{args.model} has no linear blocks: --expanded changes nothing")
    onnx = suffix == ".onnx"
    if onnx:
        net, params = _export_onnx(args, net, params)
    else:
        net, params = _export_weights(args, net, params, SAVERS[suffix])
    facts = {
        "file": args.out,
        "network": net.name,
        "upscale": net.upscale,
        "channels": net.channels,
        "parameters": sum(math.prod(shape) for shape in net.param_shapes().values()),
        "dtype": args.dtype,
        "bytes": args.out.stat().st_size,
        **({"opset": args.opset or OPSET, "size": args.size or "dynamic"} if onnx else {}),
        **({"module": args.module} if args.module else {}),
    }
    if args.json:
        print_json(facts)
    else:
        print(_in_words(facts))
    return 0


def _in_words(facts: dict[str, Any]) -> str:
    text = (
        f"wrote {facts['file']}: {facts['network']}, x{facts['upscale']}, "
        f"{facts['parameters']} parameters, {facts['dtype']}, {facts['bytes']} bytes"
    )
    if "module" in facts:
        text += f", and the module {facts['module']}"
    if "opset" not in facts:
        return text
    size = facts["size"] if facts["size"] == "dynamic" else "{}x{}".format(*facts["size"])
    return f"{text}, opset {facts['opset']}, input {size}"


def _check_options(args: argparse.Namespace, suffix: str) -> None:
    """Raise ValueError for the first mistake."""
    onnx, c = suffix == ".onnx", suffix == export_c.SUFFIX
    fresh = [path for path in (args.out, args.module) if path is not None and not args.overwrite]
    existing = next((path for path in fresh if path.exists()), None)
    mistakes = {
        f"{args.out}: the name must end in one of {', '.join(FORMATS)}": suffix not in FORMATS,
        "--size, --every-tensor and --opset are for ONNX": not onnx
        and bool(args.size or args.every_tensor or args.opset),
        f"--dialect is for safetensors and state dicts, not {suffix}": bool(args.dialect)
        and suffix in (".onnx", ".npz", export_c.SUFFIX),
        f"--prefix, --max-width, --main, --header and --arithmetic are for C, not {suffix}": not c
        and export_c.given(args),
        "C is written collapsed, in float32, in the network's own order: leave out --expanded, "
        "--dtype and --mode": c and bool(args.expanded or args.mode or args.dtype != "float32"),
        "--mode changes collapsed weights or ONNX: leave out --expanded": not onnx
        and bool(args.expanded and args.mode),
        "--module needs --dialect torch": bool(args.module) and args.dialect != "torch",
        f"{args.module}: the name must end in .py": bool(args.module)
        and args.module.suffix != ".py",
        f"{existing} exists already (--overwrite replaces it)": existing is not None,
    }
    for mistake, made in mistakes.items():
        if made:
            raise ValueError(mistake)


def _export_onnx(args: argparse.Namespace, net: Network, params: Params) -> tuple[Network, Params]:
    if args.expanded:
        net, params = expanded(net), expand_params(net, params)
    else:
        net, params = collapsed_exactly(net, params)
    to_onnx(
        args.out,
        net,
        params,
        size=args.size,
        dtype=args.dtype,
        mode=args.mode,
        every_tensor=args.every_tensor,
        opset=args.opset or OPSET,
        overwrite=args.overwrite,
    )
    return net, params


def _export_weights(
    args: argparse.Namespace, net: Network, params: Params, save: Any
) -> tuple[Network, Params]:
    if args.dialect and collapsed(net) != net:
        _check_dialect(args.dialect, args.expanded)
    if not args.expanded:
        net, params = collapsed_exactly(net, params)
    if args.mode:
        net, params = with_shuffle_mode(net, params, args.mode)
    params = {name: rounded(name, array, args.dtype) for name, array in params.items()}
    if args.module is not None:
        save_module(args.module, net, args.overwrite)
    save(args.out, net, params, args.dialect or "sesr-ref", args.overwrite)
    return net, params


def _check_dialect(name: str, expanded: bool) -> None:
    if DIALECTS[name].write or DIALECTS[name].linear_blocks == expanded:  # some fit both
        return
    if expanded:
        raise ValueError(f"--dialect {name} names collapsed convolutions: leave out --expanded")
    raise ValueError(f"--dialect {name} names the parameters of linear blocks: add --expanded")


def _size(text: str) -> tuple[int, int] | None:
    if text == "dynamic":
        return None
    try:
        height, width = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither HxW nor 'dynamic'") from None
    return height, width
