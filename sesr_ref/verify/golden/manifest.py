"""The manifest of a golden pack, read as what anybody may have written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sesr_ref.arrays_file import Stored
from sesr_ref.files import sha256_of
from sesr_ref.limits import is_int
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
    """From NHWC or HWIO to the axes of a pack."""
    return array.transpose(_ORDERS[axes]) if axes in _ORDERS else array


def from_axes(array: Stored, axes: str) -> Stored:
    """From the axes of a pack to NHWC or HWIO."""
    if axes not in _ORDERS:
        return array
    return np.ascontiguousarray(array.transpose(np.argsort(_ORDERS[axes])))


class Entry(NamedTuple):
    """What a manifest says of one array."""

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
        Of the manifest.

    Returns
    -------
    dict
        Of our format; nothing else is checked.

    Raises
    ------
    ValueError
        If it is something else.
    OSError
        If it cannot be read.
    """
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise ValueError(f"{path}: larger than any manifest")
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: no manifest ({error})") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{path}: not of a {FORMAT}")
    return manifest


def checked_hashes(folder: Path, manifest: dict[str, Any]) -> dict[str, str]:
    """Hash the files of a pack.

    Parameters
    ----------
    folder : Path
        Of the pack.
    manifest : dict
        As read.

    Returns
    -------
    dict
        Name to SHA-256 of each file.

    Raises
    ------
    ValueError
        If one is not the manifest's, or the manifest names none.
    OSError
        If a file cannot be read.
    """
    hashes = manifest.get("sha256")
    if not isinstance(hashes, dict):
        raise ValueError(f"the manifest's sha256 must name files, got {hashes!r:.80}")
    for name, expected in hashes.items():
        if Path(name).name != name:
            raise ValueError(f"{name!r} is no file of the pack")
        if (got := sha256_of(folder / name)) != expected:
            raise ValueError(f"SHA-256 of {name} is {got}, the manifest says {expected!s:.80}")
    return hashes


def checked_entries(manifest: dict[str, Any]) -> list[Entry]:
    """Check the types and ranges of what a manifest says of its arrays.

    Parameters
    ----------
    manifest : dict
        As read.

    Returns
    -------
    list of Entry

    Raises
    ------
    ValueError
        Naming the array and the field.
    """
    entries = manifest.get("arrays")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"the manifest's arrays must be a list of objects, got {entries!r:.80}")
    return [_entry(data, f"array {i} of the manifest") for i, data in enumerate(entries)]


def _entry(data: dict[str, Any], label: str) -> Entry:
    shape, files = data.get("shape"), data.get("files")
    checks = {
        "name": (isinstance(data.get("name"), str), "a string"),
        "role": (data.get("role") in ("tensor", "parameter"), "tensor or parameter"),
        "shape": (_is_shape(shape), f"sizes of at most {MAX_VALUES} values"),
        "dtype": (data.get("dtype") in list(KINDS), f"one of {', '.join(KINDS)}"),
        "axes": (data.get("axes") in AXES, f"one of {', '.join(AXES)}"),
        "fraction_bits": (_is_fraction(data.get("fraction_bits")), f"within +-{MAX_FRACTION_BITS}"),
        "stem": (isinstance(data.get("stem"), str), "a string"),
        "files": (_are_files(files), f"names of files by {', '.join(ENCODINGS)}"),
    }
    for key, (valid, needed) in checks.items():
        if not valid:
            raise ValueError(f"{label}: {key} must be {needed}, got {data.get(key)!r:.80}")
    if (len(data["shape"]) == 4) != (data["axes"] != "C"):
        raise ValueError(f"{label}: axes {data['axes']} do not fit the shape {data['shape']}")
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
    """Fraction bits of every array of a pack, by role and name.

    Parameters
    ----------
    folder : Path
        Of the pack.
    dtype : str
        Of integers, the pack's too.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If it is no pack, or one of another type.
    OSError
        If it cannot be read.
    """
    entries = checked_entries(read_manifest(folder / MANIFEST))
    if not dtype.startswith("int") or (other := {entry.dtype for entry in entries} - {dtype}):
        kinds = sorted(other) if dtype.startswith("int") else "none"
        raise ValueError(f"{folder}: fraction bits of {dtype} are needed, this pack has {kinds}")
    return {(entry.role, entry.name): entry.fraction_bits for entry in entries}
