"""Load what a MODEL argument names, and add the options that several commands share."""

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
from sesr_ref.limits import check, naming
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
    """What a file of another program does not state itself."""

    output: str | None = None
    architecture: Network | None = None


PLAIN = Foreign()


def add_model_argument(parser: argparse.ArgumentParser, text: str, **options: Any) -> None:
    """``MODEL``, and the options for files of other programs."""
    parser.add_argument("model", metavar="MODEL", help=text, **options)
    add_foreign_options(parser)


def add_foreign_options(parser: argparse.ArgumentParser) -> None:
    """``--output`` and ``--as``."""
    group = parser.add_argument_group("models of other programs")
    group.add_argument("--output", metavar="NAME", help="output of an ONNX model that is the image")
    group.add_argument(
        "--as",
        metavar="NAME|JSON",
        dest="architecture",
        help="network of a state dict: a name such as fsrcnn-x2, or the .json of a description",
    )


def foreign(args: argparse.Namespace) -> Foreign:
    """Read both options."""
    named = args.architecture
    if named is None:
        return Foreign(args.output)
    found = described(Path(named)) if named.endswith(".json") else architecture(named)
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
        help="reference: NumPy; fast: Numba's kernels; auto (default): the kernels if they work",
    )


def engine_named(name: str) -> Ops:
    """Turn ``--engine`` into operations; "auto" uses the kernels if they are installed and work."""
    if name == "reference":
        return REFERENCE
    try:
        ops = fast()
    except ImportError:
        if name == "fast":
            raise
        notice("Numba is not installed: using NumPy, which is slow (pip install 'sesr-ref[fast]')")
        return REFERENCE
    if not compiled_before(ops):
        notice("compiling the kernels once, up to 20 s (sesr-ref warmup does this in advance) ...")
    if name == "auto" and (trouble := _trouble_with(ops)):
        notice(f"using NumPy, because the fast kernels do not work here: {trouble}")
        return REFERENCE
    return ops


def compiled_before(ops: Ops) -> bool:
    """Whether compiled kernels are cached on disk."""
    try:
        return ops.cache_folder is None or any(ops.cache_folder().glob("*.nbi"))
    except OSError:  # another user's folder
        return False


def _trouble_with(ops: Ops) -> str:
    """Run a small network, which needs the same kernels; return what is wrong, or ""."""
    net = sesr(blocks=1, features=2, expand=2)
    params, x = initialise(net), np.linspace(0, 1, 35, dtype=np.float32).reshape(1, 5, 7, 1)
    try:
        different = np.abs(run(net, params, x, ops) - run(net, params, x)).max() > 1e-4
    except Exception as error:  # a broken compiler raises errors of any kind
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return "their results are wrong" if different else ""


def load_model(
    name: str | None, upscale: int | None = None, small: bool = True, other: Foreign = PLAIN
) -> tuple[Network, Params]:
    """Load the network that ``-n`` and ``-s`` select.

    Parameters
    ----------
    name : str, optional
        A shipped name or a path; None selects the default for the enlargement.
    upscale : int, optional
        The enlargement that the network must have.
    small : bool
        Whether to load a shipped network collapsed, as its scores were measured, or with its linear
        blocks.
    other : Foreign
        What a file of another program does not state itself.

    Returns
    -------
    net, params
        As `sesr_ref.load`.

    Raises
    ------
    ValueError
        If the network enlarges by another factor, or none with this factor is shipped.
    """
    if name is None:
        name = DEFAULT_MODEL.replace("x2", f"x{upscale or 2}")
        if name not in shipped():
            raise ValueError(
                f"no network for x{upscale or 2} is shipped (shipped: {', '.join(shipped())}); "
                "choose a file with -n"
            )
    net, params = load_any(smallest(name) if small else name, **other._asdict())
    check_upscale(name, net, upscale)
    return net, params


def check_upscale(name: str, net: Network, upscale: int | None) -> None:
    """Raise ValueError unless a network has the enlargement that was asked for, if any."""
    check(upscale in (None, net.upscale), f"--upscale for {name}", f"{net.upscale}", upscale)


def network_named(name: str, other: Foreign = PLAIN) -> Network:
    """Return the network of a shipped name, a file, or an architecture such as sesr-m11-x4.

    Parameters
    ----------
    name : str
        May also be the .json of a network description.
    other : Foreign
        What a file of another program does not state itself.

    Returns
    -------
    Network

    Raises
    ------
    FileNotFoundError
        If there is no such name or file.
    ValueError
        If the file does not contain a network.
    """
    if name not in shipped() and is_architecture(name):
        return architecture(name)
    if name.endswith(".json") and Path(name).is_file():
        return described(Path(name))
    return load_any(name, **other._asdict())[0]


def described(path: Path) -> Network:
    """Read a network description (.json); ValueError, naming the file, if it is none."""
    check_regular(path)
    with naming(path):  # for text that is not UTF-8, too
        return Network.from_json(path.read_text("utf-8"))
