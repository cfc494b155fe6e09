"""The shipped weights: their manifest, and the file for each name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sesr_ref.files import sha256_of
from sesr_ref.limits import naming

COLLAPSED = "-collapsed"
"""Suffix of a shipped name: the small convolutions instead of the linear blocks."""
INT8 = "-int8"
"""Suffix of a shipped name: the network in integers."""
FORMS = {COLLAPSED: "collapsed", INT8: "int8"}
"""Further files of a network: the suffix of the name, and the key in the manifest's entry."""


def shipped() -> Mapping[str, dict[str, Any]]:
    """Manifest of the shipped weights: name to files, SHA-256, recipe and scores."""
    manifest = weights_folder() / "manifest.json"
    if not manifest.is_file():
        return {}
    damaged = (ValueError, KeyError, TypeError, AttributeError)
    with naming(f"{manifest}: a damaged manifest", damaged):
        entries: dict[str, dict[str, Any]] = json.loads(manifest.read_text("utf-8"))
        for name, entry in entries.items():
            parts = (entry, *(entry[key] for key in FORMS.values() if key in entry))
            valid = all(
                Path(part["file"]).name == part["file"] and isinstance(part["sha256"], str)
                for part in parts
            )
            if not valid or not isinstance(entry["scores"], dict):
                raise ValueError(f"entry {name!r} is not as weights/ship.py writes it")
        return entries


def shipped_file(name: str) -> Path | None:
    """Find the file of a shipped name, with or without one of the suffixes in `FORMS`.

    Parameters
    ----------
    name : str
        Such as ``"sesr-m5-x2"``, ``"sesr-m5-x2-collapsed"`` or ``"sesr-m5-x2-int8"``.

    Returns
    -------
    Path or None
        None if the name is not shipped.

    Raises
    ------
    FileNotFoundError
        If the manifest names a missing file.
    ValueError
        If the manifest is damaged, or the file's SHA-256 differs from the manifest's.
    """
    base, key = split_name(name)
    entry = shipped().get(base, {})
    entry = entry.get(key, {}) if key else entry
    if not entry:
        return None
    path: Path = weights_folder() / entry["file"]
    if (got := sha256_of(path)) != entry["sha256"]:
        raise ValueError(f"{path}: SHA-256 is {got}, the manifest says {entry['sha256']}")
    return path


def split_name(name: str) -> tuple[str, str]:
    """Split a name into that of the network, and the key in `FORMS` of its suffix, or ""."""
    for suffix, key in FORMS.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix), key
    return name, ""


def smallest(name: str) -> str:
    """Name of the smallest shipped equivalent: the collapsed network, if there is one."""
    return f"{name}{COLLAPSED}" if "collapsed" in shipped().get(name, {}) else name


def weights_folder() -> Path:
    """Folder of the shipped weights."""
    import sesr_weights

    return Path(sesr_weights.__file__).parent
