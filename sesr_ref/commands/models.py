"""What a MODEL argument stands for, and the options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sesr_ref.architectures import architecture, is_architecture, sesr
from sesr_ref.commands.console import notice
from sesr_ref.engine import run
from sesr_ref.exchange import load_any
from sesr_ref.files import check_regular
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.ops.table import REFERENCE, Ops, fast
from sesr_ref.params import initialise
from sesr_ref.shipped import shipped, smallest

DEFAULT_MODEL = "sesr-m5-x2"


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """``-n/--model``: a shipped name or a file, and ``-s/--upscale``."""
    parser.add_argument(
        "-n", "--model", metavar="MODEL", help=f"shipped name or file (default {DEFAULT_MODEL})"
    )
    parser.add_argument(
        "-s", "--upscale", type=int, metavar="N", help="enlargement, 2 or 4 (default: the model's)"
    )
    add_foreign_options(parser)


class Foreign(NamedTuple):
    """What a file of another program does not say of itself."""

    output: str | None = None
    architecture: Network | None = None


PLAIN = Foreign()


def add_model_argument(parser: argparse.ArgumentParser, text: str, **options: Any) -> None:
    """``MODEL``, and what files of other programs need besides."""
    parser.add_argument("model", metavar="MODEL", help=text, **options)
    add_foreign_options(parser)


def add_foreign_options(parser: argparse.ArgumentParser) -> None:
    """``--output`` and ``--as``."""
    group = parser.add_argument_group("models of other programs")
    group.add_argument(
        "--output", metavar="NAME", help="which of an ONNX model's outputs is the image"
    )
    group.add_argument(
        "--as",
        metavar="NAME|JSON",
        dest="architecture",
        help="which network a state dict is of: a name such as fsrcnn-x2, or a description's file",
    )


def foreign(args: argparse.Namespace) -> Foreign:
    """Read these options."""
    named = args.architecture
    if named is None:
        return Foreign(args.output)
    found = described(named) if named.endswith(".json") else architecture(named)
    return Foreign(args.output, found)


def model_of(args: argparse.Namespace) -> tuple[Network, Params]:
    """The network that ``MODEL`` stands for, and its parameters."""
    return load_any(args.model, **foreign(args)._asdict())


def add_engine_option(parser: argparse.ArgumentParser) -> None:
    """``--engine auto|reference|fast``."""
    parser.add_argument(
        "--engine",
        choices=("auto", "reference", "fast"),
        default="auto",
        help="NumPy, Numba's kernels, or the latter if they are installed (default)",
    )


def engine_named(name: str) -> Ops:
    """Turn ``--engine`` into operations; "auto" takes the kernels if they are there and work."""
    if name == "reference":
        return REFERENCE
    try:
        ops = fast()
    except ImportError:
        if name == "fast":
            raise
        notice("Numba is not installed: NumPy does the work, slowly (pip install 'sesr-ref[fast]')")
        return REFERENCE
    if not compiled_before(ops):
        notice("compiling the kernels, once, up to 20 s (sesr-ref warmup does it ahead) ...")
    if name == "auto" and (trouble := _trouble_with(ops)):
        notice(f"the fast kernels do not work here, NumPy is used: {trouble}")
        return REFERENCE
    return ops


def compiled_before(ops: Ops) -> bool:
    """Whether some of the kernels are kept on disk."""
    try:
        return ops.cache_folder is None or any(ops.cache_folder().glob("*.nbi"))
    except OSError:  # another user's folder
        return False


def _trouble_with(ops: Ops) -> str:
    """Run a small network; what is wrong, or nothing.  The real one needs the same kernels."""
    net = sesr(blocks=1, features=2, expand=2)
    params, x = initialise(net), np.linspace(0, 1, 35, dtype=np.float32).reshape(1, 5, 7, 1)
    try:
        different = np.abs(run(net, params, x, ops) - run(net, params, x)).max() > 1e-4
    except Exception as error:  # a compiler that does not work raises whatever it likes
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return "they compute something else" if different else ""


def load_model(
    name: str | None, upscale: int | None = None, small: bool = True, other: Foreign = PLAIN
) -> tuple[Network, Params]:
    """Load the network that ``-n`` and ``-s`` ask for.

    Parameters
    ----------
    name : str, optional
        A shipped name or a path; None takes the default of the enlargement.
    upscale : int, optional
        What the network must enlarge by.
    small : bool
        Whether a shipped network comes collapsed, which is how its scores were measured, or with
        its linear blocks.
    other : Foreign
        What a file of another program needs besides.

    Returns
    -------
    net, params
        As `sesr_ref.load`.

    Raises
    ------
    ValueError
        If the network enlarges by another factor, or none is shipped for it.
    """
    if name is None:
        name = DEFAULT_MODEL.replace("x2", f"x{upscale or 2}")
        if name not in shipped():
            raise ValueError(
                f"no network for x{upscale or 2} is shipped (there is: {', '.join(shipped())}); "
                "name a file with -n"
            )
    net, params = load_any(smallest(name) if small else name, **other._asdict())
    if upscale is not None and net.upscale != upscale:
        raise ValueError(f"{name} enlarges by {net.upscale}, not {upscale}")
    return net, params


def network_named(name: str, other: Foreign = PLAIN) -> Network:
    """Describe a shipped name, a file, or an architecture without weights such as sesr-m11-x4.

    Parameters
    ----------
    name : str
        A description's .json also serves.
    other : Foreign
        What a file of another program needs besides.

    Returns
    -------
    Network

    Raises
    ------
    FileNotFoundError
        If it is none of these.
    ValueError
        If the file holds no network.
    """
    if name not in shipped() and is_architecture(name):
        return architecture(name)
    if name.endswith(".json") and Path(name).is_file():
        return described(name)
    return load_any(name, **other._asdict())[0]


def described(name: str) -> Network:
    """Read a description's file; errors name it."""
    try:
        check_regular(Path(name))
        return Network.from_json(Path(name).read_text("utf-8"))
    except ValueError as error:  # also what is no UTF-8
        raise ValueError(f"{name}: {error}") from None
