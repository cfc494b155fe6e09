"""Load what a MODEL argument names, and add the options that several commands share."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from sesr_ref.architectures import architecture, is_architecture, sesr
from sesr_ref.commands.console import notice
from sesr_ref.engine import run
from sesr_ref.exchange import load_any
from sesr_ref.files import sha256_of
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
    name: str | None, upscale: int | None = None, small: bool = True
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
    net, params = load_any(smallest(name) if small else name)
    fits = upscale in (None, net.upscale)
    check(fits, f"--upscale for {name}", f"{net.upscale}", upscale)
    return net, params


@dataclass(frozen=True)
class Choice:
    """A model and an engine, by name: workers load them for themselves, once.

    `sha256` is that of the model's file; "" for a shipped one.
    """

    name: str | None
    upscale: int | None
    engine: str
    sha256: str

    def loaded(self) -> tuple[Network, Params, Ops]:
        """Load both, unless this process has done so before.

        Returns
        -------
        net, params, ops

        Raises
        ------
        OSError, ValueError
            As `load_model`, or if the file is not the one that was chosen.
        """
        ops = REFERENCE if self.engine == REFERENCE.name else fast()
        return *_loaded(self.name, self.upscale, self.sha256), ops


@lru_cache(maxsize=4)
def _loaded(name: str | None, upscale: int | None, sha256: str) -> tuple[Network, Params]:
    if name and sha256 and sha256_of(Path(name)) != sha256:
        raise ValueError(f"{name} is not the file that it was when this command began")
    return load_model(name, upscale)


def chosen(args: argparse.Namespace) -> Choice:
    """What ``--model``, ``--upscale`` and ``--engine`` choose, wherever a worker's folder is."""
    name, sha256 = args.model, ""
    if name is not None and name not in shipped() and Path(name).is_file():
        name = str(Path(name).absolute())
        sha256 = sha256_of(Path(name))
    _loaded(name, args.upscale, sha256)  # a mistake in it is known before any kernel is compiled
    return Choice(name, args.upscale, engine_named(args.engine).name, sha256)


def network_named(name: str) -> Network:
    """Return the network of a shipped name, a file, or an architecture such as sesr-m11-x4.

    Parameters
    ----------
    name : str
        May also be the .json of a network description.

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
        with naming(name):  # for text that is not UTF-8, too
            return Network.from_json(Path(name).read_text("utf-8"))
    return load_any(name)[0]
