"""Read the tensors of a candidate, and check them before anything is computed."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from sesr_ref.arrays_file import MAX_HEADER_BYTES, map_npy, open_npz
from sesr_ref.limits import MAX_NAME, check, listed, naming, shown
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, check_array
from sesr_ref.verify.golden.encodings import KINDS
from sesr_ref.verify.golden.read import read_pack

RAW_SUFFIXES = (".bin", ".raw")
RAW_DTYPES = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "float64": "<f8"}
INTEGERS = {name for name, kind in KINDS.items() if kind.is_integer}
BLOCK_ROWS = 64

Candidate = Array | Mapping[str, Array] | str | Path


def read_candidate(
    net: Network,
    x_shape: tuple[int, ...],
    candidate: Candidate,
    dtype: str,
    stack: ExitStack,
) -> dict[str, Array]:
    """Read the named tensors of a candidate, with the right names, shapes and kinds of numbers.

    Parameters
    ----------
    net : Network
        A network of primitives.
    x_shape : tuple of int
        Shape of the input, (n, height, width, channels).
    candidate : array, mapping, or path
        The output; named tensors; or a file (.npy, .npz, .bin) or folder with them.
    dtype : str
        Dtype of raw files; if it is "bfloat16", 16-bit integers are read as such.
    stack : ExitStack
        Closed when the tensors are no longer used; that removes unpacked files.

    Returns
    -------
    dict of arrays
        In the network's order; files are mapped, not loaded.

    Raises
    ------
    ValueError
        If a name is unknown or the output is missing; for a wrong shape, with the transposition
        that would fit; for numbers that are not finite; for files that are not what they claim.
    OSError
        If a file cannot be read.
    """
    shapes = {name: (x_shape[0], *shape) for name, shape in net.shapes(*x_shape[1:3]).items()}
    if isinstance(candidate, (str, Path)):
        path = Path(candidate)
        with naming(path):
            tensors = _read_path(path, net, shapes, dtype, stack)
            return _all_checked(net, tensors, shapes, dtype)
    given = candidate if isinstance(candidate, Mapping) else {net.output: candidate}
    return _all_checked(net, given, shapes, dtype)


Shapes = Mapping[str, tuple[int, ...]]


def _all_checked(
    net: Network, tensors: Mapping[str, Array], shapes: Shapes, dtype: str
) -> dict[str, Array]:
    for name in tensors:
        _check_known(name, shapes)
    if net.output not in tensors:
        raise ValueError(f"the output {net.output!r} is missing")
    ordered = [name for name in shapes if name in tensors]
    return {name: _checked(name, tensors[name], shapes[name], dtype) for name in ordered}


def _check_known(name: str, shapes: Shapes) -> None:
    if name not in shapes:
        close = difflib.get_close_matches(str(name)[:MAX_NAME], shapes, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {listed(shapes)}"
        raise ValueError(f"the network has no tensor {shown(name)}; {hint}")


def _checked(name: str, array: Any, shape: tuple[int, ...], dtype: str) -> Array:
    check_array(name, array)
    if dtype == "bfloat16" and array.dtype in (np.dtype("<u2"), np.dtype("V2")):
        array = _from_bfloat16(array)
    floats = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    check(floats, name, "an array of floating-point numbers", array.dtype)
    if array.shape != shape:
        raise ValueError(
            f"{name} must have shape {shape}, got {array.shape}{_fitting(array.shape, shape)}"
        )
    for image, rows in itertools.product(range(shape[0]), range(0, shape[1], BLOCK_ROWS)):
        finite = np.isfinite(block := array[image, rows : rows + BLOCK_ROWS].astype(np.float64))
        if not finite.all():
            row, column, channel = (int(i) for i in np.argwhere(~finite)[0])
            place = (image, rows + row, column, channel)
            raise ValueError(f"{name} holds {block[row, column, channel]} at {place}")
    checked: Array = array
    return checked


def _fitting(got: tuple[int, ...], needed: tuple[int, ...]) -> str:
    """Suggest the transposition or reshape that would give the needed shape."""
    squeezed = tuple(size for size in needed if size != 1)
    if len(got) != len(needed):
        same = math.prod(got) == math.prod(needed) and tuple(s for s in got if s != 1) == squeezed
        return f": reshape to {needed} would fit" if same else ""
    for order in itertools.permutations(range(len(got))):
        if tuple(got[i] for i in order) == needed:
            return f": transpose{order} would fit"
    return ""


def _from_bfloat16(array: np.ndarray[Any, np.dtype[Any]]) -> Array:
    bits = np.ascontiguousarray(array).view("<u2").astype(np.uint32) << 16
    return bits.view(np.float32)


def _read_path(
    path: Path, net: Network, shapes: Shapes, dtype: str, stack: ExitStack
) -> dict[str, Array]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if path.suffix.lower() == ".npz":
        return _read_npz(path, shapes, stack)
    if not path.is_dir():
        return {net.output: _read_file(path, net.output, shapes, dtype)}
    if (path / "manifest.json").is_file():
        return _read_pack(path)
    tensors: dict[str, Array] = {}
    for file in sorted(path.iterdir()):
        if file.suffix.lower() in READERS:
            if file.stem in tensors:
                raise ValueError(f"two files are called {file.stem!r}")
            tensors[file.stem] = _read_file(file, file.stem, shapes, dtype)
    if not tensors:
        raise ValueError("the folder contains no .npy or .bin file")
    return tensors


def _read_pack(path: Path) -> dict[str, Array]:
    pack = read_pack(path)
    if integers := {e["dtype"] for e in pack.manifest["arrays"]} & INTEGERS:
        raise ValueError(
            f"compare accepts only packs of floats, got one of {min(integers)}: use sesr-ref match"
        )
    return pack.tensors


def _read_file(path: Path, name: str, shapes: Shapes, dtype: str) -> Array:
    return READERS.get(path.suffix.lower(), _unknown)(path, shapes.get(name, ()), dtype)


def _unknown(path: Path, shape: tuple[int, ...], dtype: str) -> Array:
    raise ValueError(f"{path}: a candidate must be a .npy, .npz or .bin file or a folder of them")


def _read_npy(path: Path, shape: tuple[int, ...], dtype: str) -> Array:
    return map_npy(path)


def _read_raw(path: Path, shape: tuple[int, ...], dtype: str) -> Array:
    kind = np.dtype(RAW_DTYPES[dtype])
    needed, size = math.prod(shape) * kind.itemsize, path.stat().st_size
    fits = not shape or size == needed
    check(fits, f"{path}: the file", f"{needed} bytes ({shape} of {dtype})", size)
    return np.memmap(path, kind, "r", shape=shape)


READERS: dict[str, Callable[[Path, tuple[int, ...], str], Array]] = {
    ".npy": _read_npy,
    **dict.fromkeys(RAW_SUFFIXES, _read_raw),
}


def _read_npz(path: Path, shapes: Shapes, stack: ExitStack) -> dict[str, Array]:
    """Unpack the tensors to files so that they can be mapped; none may be larger than needed."""
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="sesr-ref-")))
    tensors: dict[str, Array] = {}
    with open_npz(path) as archive:
        for name in archive.names:
            _check_known(name, shapes)
            file = folder / f"{len(tensors)}.npy"
            archive.unpack(name, file, 8 * math.prod(shapes[name]) + MAX_HEADER_BYTES)
            tensors[name] = map_npy(file, name)
    return tensors
