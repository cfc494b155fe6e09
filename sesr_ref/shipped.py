"""The shipped weights: their manifest, and which file a name stands for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sesr_ref.files import sha256_of

COLLAPSED = "-collapsed"
"""Behind a shipped name: the small convolutions instead of the linear blocks."""


def shipped() -> Mapping[str, dict[str, Any]]:
    """Manifest of the shipped weights: name to files, SHA-256, recipe and scores."""
    manifest = weights_folder() / "manifest.json"
    if not manifest.is_file():
        return {}
    try:
        entries: dict[str, dict[str, Any]] = json.loads(manifest.read_text("utf-8"))
        for entry in entries.values():
            for part in (entry, entry.get("collapsed", entry)):
                if Path(part["file"]).name != part["file"] or not isinstance(part["sha256"], str):
                    raise ValueError("an entry is not as weights/ship.py writes it")
            if not isinstance(entry["scores"], dict):
                raise ValueError("an entry has no scores")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{manifest}: a damaged manifest ({error})") from None
    return entries


def shipped_file(name: str) -> Path | None:
    """Find the file of a shipped name, with or without ``-collapsed``.

    Parameters
    ----------
    name : str
        Such as ``"sesr-m5-x2"`` or ``"sesr-m5-x2-collapsed"``.

    Returns
    -------
    Path or None
        None for what is no shipped name.

    Raises
    ------
    FileNotFoundError
        If the manifest names a file that is not there.
    ValueError
        If the manifest is damaged, or the file's SHA-256 is not the manifest's.
    """
    entry = shipped().get(name.removesuffix(COLLAPSED), {})
    if name.endswith(COLLAPSED):
        entry = entry.get("collapsed", {})
    if not entry:
        return None
    path: Path = weights_folder() / entry["file"]
    if (got := sha256_of(path)) != entry["sha256"]:
        raise ValueError(f"{path}: SHA-256 is {got}, the manifest says {entry['sha256']}")
    return path


def smallest(name: str) -> str:
    """Name what computes the same with the fewest parameters: the collapsed file if shipped."""
    return f"{name}{COLLAPSED}" if "collapsed" in shipped().get(name, {}) else name


def weights_folder() -> Path:
    """Where the shipped weights lie."""
    import sesr_weights

    return Path(sesr_weights.__file__).parent
