"""Golden packs: every tensor and parameter of one run, for whoever must reproduce it bit by bit.

Values are float64 results of sums in a fixed order without BLAS, rounded once, so that two runs on
two machines write the same bytes.  The manifest has a SHA-256 for every file.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.collapse import collapsed
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.verify.encodings import ENCODINGS, KINDS, from_npz, restore, store, to_npz
from sesr_ref.verify.exact import exact_params, exact_tensors
from sesr_ref.verify.manifest import (
    FORMAT,
    MANIFEST,
    MAX_VALUES,
    VERSION,
    Entry,
    checked_entries,
    checked_hashes,
    read_manifest,
)
from sesr_ref.verify.npy import Stored
from sesr_ref.verify.pack_folder import check_target, put_in_place

FILES = ("npz", *ENCODINGS)
LAYOUTS = {"NHWC": ("NHWC", "HWIO"), "NCHW": ("NCHW", "OIHW")}
MAX_TEXT_VALUES = 1 << 24
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}")


@dataclass(frozen=True)
class Pack:
    """What a golden pack holds, as float64 NHWC tensors and HWIO weights."""

    net: Network
    params: Params
    tensors: dict[str, Array]
    manifest: dict[str, Any]


def write_pack(
    folder: str | Path,
    net: Network,
    params: Params,
    x: Array,
    dtype: str = "float32",
    files: Sequence[str] = ("npz",),
    layout: str = "NHWC",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Run a network and write everything about it.

    Parameters
    ----------
    folder : path
        To be made; it appears whole or not at all.
    net, params
        With linear blocks, which are collapsed, or without.
    x : (n, height, width, channels) float32 or float64 array
        The input.
    dtype : {"float32", "float16", "int8", "int16", "int32"}
        What values are rounded to; integers stand for themselves times a power of two, stated for
        each array.
    files : sequence of {"npz", "bin", "c", "hex"}
        NumPy, raw little-endian, C headers, Verilog's ``$readmemh``.
    layout : {"NHWC", "NCHW"}
        Of tensors; weights are HWIO or OIHW with it.
    overwrite : bool
        Whether a pack that is there is replaced, if its folder holds nothing else.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    ValueError
        For an option that is unknown, values beyond the type's range or too many, parameters or
        images that do not fit.
    FileExistsError
        If the folder exists and shall not be overwritten, is a link, or holds more than a pack.
    """
    folder = Path(folder)
    _check_options(dtype, files, layout)
    check_target(folder, overwrite)
    folder = folder.resolve()
    small = collapsed(net)
    _count(small, x, files)
    arrays = {"tensor": exact_tensors(net, params, x), "parameter": exact_params(net, params)}
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name[:32]}.", dir=folder.parent))
    try:
        manifest = _write_files(temporary, small, arrays, dtype, files, layout)
        temporary.chmod(0o755)
        put_in_place(temporary, folder, overwrite)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def expected_bytes(net: Network, x: Array, dtype: str, files: Sequence[str]) -> int:
    """About how large the pack's tensors are that `write_pack` with these arguments would write.

    Parameters
    ----------
    net, x, dtype, files
        As for `write_pack`.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If there are more values than a pack may hold.
    """
    kind = KINDS[dtype]
    sample, _ = store(np.linspace(-1, 1, 1 << 12), kind)
    written = [ENCODINGS[key].write("", sample, kind) for key in files if key in ENCODINGS]
    binary: int = sample.nbytes if "npz" in files else 0
    total = binary + sum(len(data) for data in written)
    return _count(collapsed(net), x, files) * total // len(sample)


def _count(net: Network, x: Array, files: Sequence[str]) -> int:
    """Values of all tensors; ValueError for more than such files may hold."""
    shapes = net.shapes(*x.shape[1:3]).values()
    values: int = x.shape[0] * sum(math.prod(shape) for shape in shapes)
    limit = MAX_VALUES if set(files) <= {"npz", "bin"} else MAX_TEXT_VALUES
    if values > limit:
        raise ValueError(f"{values} values are more than the {limit} that such a pack may hold")
    return values


def _check_options(dtype: str, files: Sequence[str], layout: str) -> None:
    if dtype not in KINDS:
        raise ValueError(f"a pack's dtype must be one of {sorted(KINDS)}, got {dtype!r}")
    if not files or not set(files) <= set(FILES):
        raise ValueError(f"a pack's files must be some of {FILES}, got {tuple(files)}")
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {sorted(LAYOUTS)}, got {layout!r}")


def _write_files(
    folder: Path,
    net: Network,
    arrays: dict[str, dict[str, Array]],
    dtype: str,
    files: Sequence[str],
    layout: str,
) -> dict[str, Any]:
    kind, hashes = KINDS[dtype], {}

    def write(name: str, data: bytes) -> str:
        (folder / name).write_bytes(data)
        hashes[name] = hashlib.sha256(data).hexdigest()
        return name

    write("network.json", (net.to_json(indent=2) + "\n").encode())
    entries: list[dict[str, Any]] = []
    for role, named in arrays.items():
        bundle: dict[str, Stored] = {}
        for name, array in named.items():
            stored, fraction_bits = store(_to_layout(array, role, layout), kind)
            stem = name if SAFE_NAME.fullmatch(name) else f"array{len(entries)}"
            bundle[stem] = stored
            encodings = [(key, ENCODINGS[key]) for key in files if key in ENCODINGS]
            entries.append({
                "name": name, "role": role, "shape": stored.shape, "dtype": dtype,
                "axes": _axes(array, role, layout), "fraction_bits": fraction_bits, "stem": stem,
                "files": {k: write(f"{role}.{stem}{e.suffix}", e.write(stem, stored, kind))
                          for k, e in encodings},
            })  # fmt: skip
        if "npz" in files:
            write(f"{role}s.npz", to_npz(bundle))
    manifest = {
        "format": FORMAT, "version": VERSION, "network": net.name, "dtype": dtype,
        "layout": layout, "byte_order": "little", "versions": _versions(),
        "arrays": entries, "sha256": hashes,
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    return manifest


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("sesr-ref")
    except PackageNotFoundError:
        own = "not installed"
    return {"sesr-ref": own, "numpy": np.__version__}


def _axes(array: Array, role: str, layout: str) -> str:
    """Names of the axes as written."""
    if array.ndim != 4:
        return "C"
    return LAYOUTS[layout][role == "parameter"]


def _to_layout(array: Array, role: str, layout: str) -> Array:
    if array.ndim != 4 or layout == "NHWC":
        return array
    return array.transpose((0, 3, 1, 2) if role == "tensor" else (3, 2, 0, 1))


def _from_layout(array: Array, axes: str) -> Array:
    orders = {"NCHW": (0, 2, 3, 1), "OIHW": (2, 3, 1, 0)}
    return np.ascontiguousarray(array.transpose(orders[axes])) if axes in orders else array


def read_pack(folder: str | Path) -> Pack:
    """Read a pack back, whichever files it has.

    Parameters
    ----------
    folder : path
        Written by `write_pack`.

    Returns
    -------
    Pack

    Raises
    ------
    ValueError
        If it is no pack, a file's SHA-256 is not the manifest's, or a file is not what it claims.
    OSError
        If a file cannot be read.
    """
    folder = Path(folder)
    manifest = read_manifest(folder / MANIFEST)
    if manifest.get("version") != VERSION:
        raise ValueError(f"{folder}: version {manifest.get('version')}, this reads {VERSION}")
    try:
        return _read_arrays(folder, manifest)
    except (ValueError, OverflowError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{folder}: {error}") from None


def _read_arrays(folder: Path, manifest: dict[str, Any]) -> Pack:
    hashes = checked_hashes(folder, manifest)

    def read(name: str) -> bytes:
        if name not in hashes:
            raise ValueError(f"the manifest has no SHA-256 of {name!r}")
        return (folder / name).read_bytes()

    net = Network.from_json(read("network.json").decode())
    bundles = {name: from_npz(read(name)) for name in hashes if name.endswith(".npz")}
    found: dict[str, dict[str, Array]] = {"tensor": {}, "parameter": {}}
    for entry in checked_entries(manifest):
        try:
            array = _read_entry(entry, bundles.get(f"{entry.role}s.npz"), read)
        except ValueError as error:
            raise ValueError(f"{entry.role} {entry.name!r}: {error}") from None
        found[entry.role][entry.name] = array
    return Pack(net, found["parameter"], found["tensor"], manifest)


def _read_entry(
    entry: Entry, bundle: dict[str, Stored] | None, read: Callable[[str], bytes]
) -> Array:
    if bundle is not None and entry.stem in bundle:
        stored = bundle[entry.stem]
    elif entry.files:
        key, file = next(iter(entry.files.items()))
        stored = ENCODINGS[key].read(read(file), KINDS[entry.dtype])
    else:
        raise ValueError("no file holds it")
    if stored.dtype != np.dtype(KINDS[entry.dtype].dtype) or stored.size != math.prod(entry.shape):
        raise ValueError(
            f"must be {entry.shape} of {entry.dtype}, got {stored.shape} of {stored.dtype}"
        )
    return _from_layout(restore(stored, entry.fraction_bits).reshape(entry.shape), entry.axes)
