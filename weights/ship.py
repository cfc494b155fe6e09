"""Take a training run's weights into the package.

    python weights/ship.py RUN NAME --data EVAL --val KODAK24

RUN is the --out of sesr-ref train, NAME such as sesr-m5-x2 or sesr-m5-x2-npu.  Writes NAME.npz
with the linear blocks, which training can go on from, NAME-collapsed.npz, which is what runs, and
NAME's entry in the manifest: recipe, PSNR on all of KODAK24, scores on EVAL's test sets.  Weights
that are worse on KODAK24 than the shipped ones are refused without --force (exit code 1).
With --state the optimiser's moments are stored beside the package; state.py goes on from them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

import sesr_ref as sr
from recipe import recipe_of
from sesr_ref.architectures import architecture
from sesr_ref.commands.models import add_engine_option, engine_named
from sesr_ref.evaluate import PROTOCOLS, network, score_folder, validation_psnr
from sesr_ref.files import atomic_write, sha256_of
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.ops.table import Ops
from sesr_ref.shipped import COLLAPSED, INT8, shipped, smallest, weights_folder
from state import remove_stale_state, write_state

SETS = ("Set5", "Set14", "BSD100")
FURTHER = ("Urban100", "Manga109", "DIV2K", "DIV2Kcrop100")
"""Scored where they are there."""
LARGEST_FLOAT32 = 1_300_000
"""Bytes; linear blocks that would take more are stored as float16."""

Model = tuple[Network, Params]


def named(name: str, net: Network) -> Network:
    """The trained network under the name that it is shipped by, if it is that architecture."""
    expected = architecture(name)
    net = replace(net, name=name)
    if sr.collapsed(net) != sr.collapsed(expected):
        raise ValueError(f"the run's network is no {name}")
    return net


def small_of(net: Network, params: Params) -> Model:
    """Collapse in float64 and round once."""
    exact = sr.collapse_params(net, {k: v.astype(np.float64) for k, v in params.items()})
    return sr.collapsed(net), {name: array.astype(np.float32) for name, array in exact.items()}


def stored(net: Network, params: Params) -> tuple[str, Params]:
    """The dtype of the linear blocks in the file, and the parameters in it."""
    blocks = params.keys() - sr.collapsed(net).param_shapes().keys()
    if sum(params[name].nbytes for name in blocks) <= LARGEST_FLOAT32:
        return "float32", params
    return "float16", params | {name: params[name].astype(np.float16) for name in blocks}


def validation_of(net: Network, params: Params, folder: Path, ops: Ops) -> dict[str, Any]:
    """PSNR of the collapsed network on a folder, and what rounding to float16 took from it."""
    validate = validation_psnr(folder, net.upscale, ops)
    dtype, arrays = stored(net, params)
    psnr_db = validate(*small_of(net, arrays))
    facts = {"set": folder.name, "psnr_db": round(psnr_db, 4)}
    if dtype == "float16":
        facts["lost_to_float16_db"] = round(validate(*small_of(net, params)) - psnr_db, 5)
    return facts


def shipped_psnr(name: str, folder: Path, upscale: int, ops: Ops) -> float:
    """PSNR of the shipped weights on a folder.

    Parameters
    ----------
    name : str
        Theirs.
    folder : Path
        Of images.
    upscale : int
        Theirs.
    ops : Ops
        The implementation that runs them.

    Returns
    -------
    float
        Measured; or what the manifest states where the files are not those that it describes: a
        process was killed between writing the two, and shipping again mends that.
    """
    try:
        model = sr.load(smallest(name))
    except (ValueError, OSError):
        return float(shipped()[name]["validation"]["psnr_db"])
    return validation_psnr(folder, upscale, ops)(*model)


def scores_of(model: Model, data: Path, protocol: str, ops: Ops) -> dict[str, Any]:
    """Means over each test set that must be there, and the further ones that are."""
    upscale, methods = model[0].upscale, {"network": network(*model, ops)}
    scores: dict[str, Any] = {"protocol": f"{protocol}: {PROTOCOLS[protocol].text}; Y, border = s"}
    for name in (*SETS, *(name for name in FURTHER if (data / name).is_dir())):
        mean = score_folder(data / name, methods, upscale, PROTOCOLS[protocol]).mean()
        scores[name] = {key: round(value, 4) for key, value in asdict(mean["network"]).items()}
    return scores


def write_files(net: Network, params: Params) -> dict[str, Any]:
    """Write the network and, if it has linear blocks, its collapse; the entry's facts of both."""
    dtype, arrays = stored(net, params)
    small, weights = small_of(net, arrays)
    file = weights_folder() / f"{net.name}.npz"
    sr.save(file, net, arrays, compress=True)
    entry = _facts_of(file, arrays) | {
        "dtype": dtype,
        "network": net.name,
        "collapsed_parameters": sum(array.size for array in weights.values()),
    }
    if small != net:
        file = weights_folder() / f"{net.name}{COLLAPSED}.npz"
        sr.save(file, small, weights, compress=True)
        entry["collapsed"] = _facts_of(file, weights)
    return entry


def _facts_of(file: Path, params: Params) -> dict[str, Any]:
    count = sum(array.size for array in params.values())
    return {"file": file.name, "sha256": sha256_of(file), "parameters": count}


def write_manifest(entries: dict[str, Any]) -> None:
    """Write the entries, x2 first, small networks first."""

    def place(name: str) -> tuple[int, int, str]:
        return int(name.split("-x")[-1][0]), entries[name]["collapsed_parameters"], name

    ordered = {name: entries[name] for name in sorted(entries, key=place)}
    with atomic_write(weights_folder() / "manifest.json") as stream:
        stream.write((json.dumps(ordered, indent=2) + "\n").encode())


@dataclass(frozen=True)
class Judged:
    """PSNR on the validation images of a run and of the weights shipped before; `entry` if taken.

    `before_db` is None where nothing was shipped, or nothing was compared.
    """

    psnr_db: float
    before_db: float | None
    entry: dict[str, Any] | None


def take(
    run: Path,
    name: str,
    data: Path,
    val: Path,
    ops: Ops,
    *,
    weights: str = "weights.npz",
    protocol: str = "y",
    force: bool = False,
    known: Mapping[str, Any] = MappingProxyType({}),
) -> Judged:
    """Write a run's weights into the package, unless the shipped ones are better.

    Parameters
    ----------
    run : Path
        The ``--out`` of ``sesr-ref train``.
    name : str
        To ship them by.
    data, val : Path
        Folder of test sets, folder of validation images.
    ops : Ops
        The implementation that runs networks.
    weights : str
        File in `run`.
    protocol : str
        Of the scores.
    force : bool
        Whether better weights are replaced.
    known : mapping
        Further facts for the entry's recipe.

    Returns
    -------
    Judged

    Raises
    ------
    OSError
        If a file cannot be read or written.
    ValueError
        If the run is of another network than `name`, or damaged.
    """
    net, params = sr.load(run / weights)
    net, before = named(name, net), None
    facts = {
        "recipe": {**recipe_of(run, weights), **known},
        "validation": validation_of(net, params, val, ops),
    }
    psnr_db = facts["validation"]["psnr_db"]
    if name in shipped() and not force:
        before = shipped_psnr(name, val, net.upscale, ops)
        if round(before, 3) > round(psnr_db, 3):
            return Judged(psnr_db, before, None)
    facts["scores"] = scores_of(small_of(net, stored(net, params)[1]), data, protocol, ops)
    entry = write_files(net, params) | facts
    write_manifest({**shipped(), name: entry})
    # integers of the weights before: ship_int8.py makes those of the new ones
    (weights_folder() / f"{name}{INT8}.npz").unlink(missing_ok=True)
    return Judged(psnr_db, before, entry)


def ship(args: argparse.Namespace) -> int:
    """Compare, score, write."""
    if args.state and args.weights != "weights.npz":
        raise ValueError(f"--state is of a run's end, not of {args.weights}")
    judged = take(
        args.run,
        args.name,
        args.data,
        args.val,
        engine_named(args.engine),
        weights=args.weights,
        protocol=args.protocol,
        force=args.force,
    )
    if judged.entry is None:
        print(
            f"{args.name}: {judged.psnr_db:.3f} dB on {args.val.name}, the shipped weights have "
            f"{judged.before_db:.3f} dB; --force replaces them",
            file=sys.stderr,
        )
        return 1
    if args.state:
        write_state(args.run, args.name)
    else:
        remove_stale_state(args.name)
    print(json.dumps(judged.entry, indent=2))
    return 0


def main() -> int:
    """Parse and ship; 2 for what cannot be shipped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--data", type=Path, required=True, help="folder of test sets")
    parser.add_argument("--val", type=Path, required=True, help="folder of images: Kodak24")
    parser.add_argument("--weights", default="weights.npz", help="file in RUN (weights.npz)")
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), default="y")
    parser.add_argument("--state", action="store_true", help="store the moments in weights/states/")
    parser.add_argument("--force", action="store_true", help="replace better weights")
    add_engine_option(parser)
    try:
        return ship(parser.parse_args())
    except (ValueError, OSError) as error:
        print(f"ship.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
