"""Golden packs read back, whichever files they have, and refused when damaged."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.arrays_file import Stored
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.verify.golden.encodings import ENCODINGS, KINDS, from_npz, restore
from sesr_ref.verify.golden.manifest import (
    MANIFEST,
    VERSION,
    Entry,
    checked_entries,
    checked_hashes,
    from_axes,
    read_manifest,
)


@dataclass(frozen=True)
class Pack:
    """What a golden pack holds, as float64 NHWC tensors and HWIO weights."""

    net: Network
    params: Params
    tensors: dict[str, Array]
    manifest: dict[str, Any]


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
    except ValueError as error:
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
        if entry.name in found[entry.role]:
            raise ValueError(f"{entry.role} {entry.name!r} is there twice")
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
    return from_axes(restore(stored, entry.fraction_bits).reshape(entry.shape), entry.axes)
