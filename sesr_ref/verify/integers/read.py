"""Read a port's tensors: a folder of files named after them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from sesr_ref.integers.grid import Quantization
from sesr_ref.limits import check, listed, naming, shown
from sesr_ref.network import Network
from sesr_ref.verify.comparison.inputs import read_input
from sesr_ref.verify.golden.match import READERS, read_stored

Codes = npt.NDArray[np.signedinteger]


def read_port(
    folder: str | Path, net: Network, q: Quantization, source: str | Path | None = None
) -> dict[str, Codes]:
    """Read the tensors of a port in integers.

    Parameters
    ----------
    folder : path
        Holds files named after tensors (head.npy or tensor.head.npy): .npy, .bin and .raw
        (little-endian), .hex as ``$writememh`` writes it, .h.  Without `source` the input must be
        among them, as .npy, which states its shape.
    net : Network
        Collapsed.
    q : Quantization
        Its grids.
    source : path, optional
        The image, or .npy of real numbers in [0, 1], that the port was given.

    Returns
    -------
    dict of (n, height, width, channels) integer arrays

    Raises
    ------
    ValueError
        If there is no input, a file is of no tensor or of two, or is not what its name says.
    OSError
        If a file cannot be read.
    """
    folder = Path(folder)
    check(folder.is_dir(), f"{folder}: a port's tensors", "a folder of files", "none")
    files = _files(folder, net)
    found: dict[str, Codes] = {}
    if source is not None:
        grid = q.tensors["input"]
        found["input"] = grid.to_integers(read_input(source, net)).astype(grid.dtype())
        files.pop("input", None)
    elif "input" in files:
        path = files.pop("input")
        check(
            path.suffix.lower() == ".npy", f"{path}: the input", ".npy, or given by --input", path
        )
        found["input"] = read_stored(path, (), "int8")
    else:
        raise ValueError(f"{folder} has no input.npy: give the image (--input)")
    given = found["input"]
    needed = f"(n, height, width, {net.channels})"
    check(given.ndim == 4, f"{folder}: the shape of the input", needed, given.shape)
    shapes = net.shapes(given.shape[1], given.shape[2])
    for name, path in files.items():
        with naming(path):
            dtype = str(q.tensors[name].dtype())
            found[name] = read_stored(path, (given.shape[0], *shapes[name]), dtype)
    return found


def _files(folder: Path, net: Network) -> dict[str, Path]:
    known = ["input", *(layer.name for layer in net.layers)]
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in (".npy", *READERS):
            continue
        name = path.stem.removeprefix("tensor.")
        if name not in known:
            raise ValueError(f"{path}: {net.name} has no tensor {shown(name)}: {listed(known)}")
        if name in found:
            raise ValueError(f"{folder}: two files are of tensor {name!r}")
        found[name] = path
    return found
