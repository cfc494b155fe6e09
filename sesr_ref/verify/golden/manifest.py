"""The manifest of a golden pack, read as untrusted input."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sesr_ref.arrays_file import Stored
from sesr_ref.files import sha256_of
from sesr_ref.limits import check, is_int, naming, shown
from sesr_ref.verify.golden.encodings import ENCODINGS, KINDS

FORMAT = "sesr-ref golden pack"
VERSION = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 << 20
MAX_VALUES = 1 << 28
MAX_FRACTION_BITS = 512
AXES = ("C", "NHWC", "NCHW", "HWIO", "OIHW")
_ORDERS = {"NCHW": (0, 3, 1, 2), "OIHW": (3, 2, 0, 1)}


def to_axes(array: Stored, axes: str) -> Stored:
    """Transpose from NHWC or HWIO to the axes of a pack."""
    return array.transpose(_ORDERS[axes]) if axes in _ORDERS else array


def from_axes(array: Stored, axes: str) -> Stored:
    """Transpose from the axes of a pack to NHWC or HWIO."""
    if axes not in _ORDERS:
        return array
    return np.ascontiguousarray(array.transpose(np.argsort(_ORDERS[axes])))


class Entry(NamedTuple):
    """What a manifest states about one array."""

    name: str
    role: str
    shape: tuple[int, ...]
    dtype: str
    axes: str
    fraction_bits: int
    stem: str
    files: dict[str, str]


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest of any version.

    Parameters
    ----------
    path : Path
        The manifest.

    Returns
    -------
    dict
        Its ``format`` is right; nothing else is checked.

    Raises
    ------
    ValueError
        If it is not the manifest of a golden pack.
    OSError
        If it cannot be read.
    """
    size = path.stat().st_size
    check(size <= MAX_MANIFEST_BYTES, f"{path}: the size", f"<= {MAX_MANIFEST_BYTES} bytes", size)
    with naming(f"{path}: not a manifest", (ValueError, RecursionError)):
        manifest = json.loads(path.read_text("utf-8"))
        stated = manifest.get("format") if isinstance(manifest, dict) else manifest
        check(stated == FORMAT, "format", repr(FORMAT), stated)
        found: dict[str, Any] = manifest
        return found


def checked_hashes(folder: Path, manifest: dict[str, Any]) -> dict[str, str]:
    """Hash the files of a pack.

    Parameters
    ----------
    folder : Path
        The pack.
    manifest : dict
        From `read_manifest`.

    Returns
    -------
    dict
        Name to SHA-256 of each file.

    Raises
    ------
    ValueError
        If a hash differs from the manifest's, or the manifest names no files.
    OSError
        If a file cannot be read.
    """
    hashes: Any = manifest.get("sha256")
    check(isinstance(hashes, dict), "the manifest's sha256", "a dict of files", hashes)
    for name, expected in hashes.items():
        check(Path(name).name == name, "a file of the pack", "a name without a folder", name)
        got = sha256_of(folder / name)
        check(got == expected, f"SHA-256 of {name}", f"{shown(expected)} as in the manifest", got)
    found: dict[str, str] = hashes
    return found


def checked_entries(manifest: dict[str, Any]) -> list[Entry]:
    """Check the types and ranges of what a manifest states about its arrays.

    Parameters
    ----------
    manifest : dict
        From `read_manifest`.

    Returns
    -------
    list of Entry

    Raises
    ------
    ValueError
        Naming the array and the field.
    """
    entries: Any = manifest.get("arrays")
    valid = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    check(valid, "the manifest's arrays", "a list of objects", entries)
    return [_entry(data, f"array {i} of the manifest") for i, data in enumerate(entries)]


def _entry(data: dict[str, Any], label: str) -> Entry:
    shape, files = data.get("shape"), data.get("files")
    checks = {
        "name": (isinstance(data.get("name"), str), "a string"),
        "role": (data.get("role") in ("tensor", "parameter"), "tensor or parameter"),
        "shape": (_is_shape(shape), f"sizes of at most {MAX_VALUES} values in all"),
        "dtype": (data.get("dtype") in list(KINDS), f"one of {', '.join(KINDS)}"),
        "axes": (data.get("axes") in AXES, f"one of {', '.join(AXES)}"),
        "fraction_bits": (_is_fraction(data.get("fraction_bits")), f"within +-{MAX_FRACTION_BITS}"),
        "stem": (isinstance(data.get("stem"), str), "a string"),
        "files": (_are_files(files), f"names of files by {', '.join(ENCODINGS)}"),
    }
    for key, (valid, needed) in checks.items():
        check(valid, f"{label}: {key}", needed, data.get(key))
    fits = (len(data["shape"]) == 4) == (data["axes"] != "C")
    check(fits, f"{label}: axes", f"those of the shape {data['shape']}", data["axes"])
    return Entry(**{key: data[key] for key in Entry._fields} | {"shape": tuple(data["shape"])})


def _is_shape(value: object) -> bool:
    if not isinstance(value, list) or not all(is_int(n) and n >= 0 for n in value):
        return False
    return len(value) <= 32 and math.prod(value) <= MAX_VALUES


def _is_fraction(value: Any) -> bool:
    return is_int(value) and abs(value) <= MAX_FRACTION_BITS


def _are_files(value: object) -> bool:
    return isinstance(value, dict) and all(
        key in ENCODINGS and isinstance(name, str) for key, name in value.items()
    )


def stated_scales(folder: Path, dtype: str) -> dict[tuple[str, str], int]:
    """Read the fraction bits of every array of a pack, by role and name.

    Parameters
    ----------
    folder : Path
        The pack.
    dtype : str
        An integer dtype; the pack must have it too.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If it is not a pack, has another dtype, or `dtype` is not an integer dtype.
    OSError
        If it cannot be read.
    """
    check(dtype.startswith("int"), "a dtype with fraction bits", "an integer dtype", dtype)
    entries = checked_entries(read_manifest(folder / MANIFEST))
    kinds = sorted({entry.dtype for entry in entries})
    check(kinds in ([dtype], []), f"{folder}: the dtypes of the pack", f"['{dtype}']", kinds)
    return {(entry.role, entry.name): entry.fraction_bits for entry in entries}
