"""``python -m sesr_kernels.explain MODEL``: what the kernels make of a network."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict

from sesr_kernels.description.layers import Network, Unsupported
from sesr_kernels.explain import inference, text, training
from sesr_kernels.explain.inference import ExplainedInference
from sesr_kernels.explain.training import ExplainedTraining
from sesr_kernels.machine.host import HOST
from sesr_kernels.machine.threads import Threads

Explained = ExplainedInference | ExplainedTraining | str
"""What was found, or why the kernels do not take the network as a whole."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the schedule and the training program of a network.

    Returns
    -------
    int
        2 for a mistake of the caller's, else 0.
    """
    options = _parser().parse_args(arguments)
    winograd: bool = not options.direct
    try:
        threads, net = Threads(options.threads).count, _network(options.model)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    parts: dict[str, Callable[[], Explained]] = {
        "inference": lambda: inference.explain(
            net, options.height, options.width, threads, winograd
        ),
        "training": lambda: training.explain(net, options.crop, options.crop, winograd),
    }
    wanted = [options.part] if options.part else list(parts)
    found = {name: _explained(parts[name]) for name in wanted}
    write = _json if options.json else _text
    sys.stdout.write(write(options.model, net, found) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sesr_kernels.explain", description=__doc__)
    add = parser.add_argument
    add("model", metavar="MODEL", help="a shipped name, an architecture's, or a file's")
    add("--height", type=_size, default=540, metavar="PIXELS", help="of the image (default 540)")
    add("--width", type=_size, default=960, metavar="PIXELS", help="of the image (default 960)")
    add("--crop", type=_size, default=64, metavar="PIXELS", help="of training (default 64)")
    add("--threads", type=int, metavar="N", help="that share an image (default: all processors)")
    add("--part", choices=("inference", "training"), help="only one of the two")
    add("--direct", action="store_true", help="without Winograd's algorithm")
    add("--json", action="store_true", help="print data, not tables")
    return parser


def _size(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"an integer from 1 on, got {text!r:.40}")
    return int(text)


def _network(name: str) -> Network:
    """The network that a name or a file stands for, without linear blocks."""
    # the one place where this package reaches the engine, when it runs and for a name's sake alone;
    # the contract in pyproject.toml lists it
    from sesr_ref.collapse import collapsed
    from sesr_ref.commands.models import network_named

    return collapsed(network_named(name))


def _explained(explain: Callable[[], Explained]) -> Explained:
    try:
        return explain()
    except Unsupported as reason:
        return f"layer by layer: {reason}"


def _json(model: str, net: Network, found: dict[str, Explained]) -> str:
    parts = {name: part if isinstance(part, str) else asdict(part) for name, part in found.items()}
    return json.dumps({"model": model, "machine": HOST._asdict(), **parts}, indent=1)


def _text(model: str, net: Network, found: dict[str, Explained]) -> str:
    head = f"{model}: {len(net.layers)} layers when collapsed, enlarges by {net.upscale}"
    parts = [f"{head}\n{text.machine(HOST)}"]
    for name, part in found.items():
        if isinstance(part, ExplainedInference):
            parts.append(text.inference(part))
        elif isinstance(part, ExplainedTraining):
            parts.append(text.training(part))
        else:
            parts.append(f"{name}: {part}")
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
