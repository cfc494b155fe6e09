"""Read golden packs from whichever files they have, and reject damaged ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.arrays_file import Stored
from sesr_ref.limits import check, naming, shown
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
    """Content of a golden pack, as float64 NHWC tensors and HWIO weights."""

    net: Network
    params: Params
    tensors: dict[str, Array]
    manifest: dict[str, Any]


def read_pack(folder: str | Path) -> Pack:
    """Read a pack from whichever files it has.

    Parameters
    ----------
    folder : path
        A folder written by `write_pack`.

    Returns
    -------
    Pack

    Raises
    ------
    ValueError
        If it is not a pack, a file's SHA-256 differs from the manifest's, or a file is not what it
        claims.
    OSError
        If a file cannot be read.
    """
    folder = Path(folder)
    manifest = read_manifest(folder / MANIFEST)
    with naming(folder):
        version = manifest.get("version")
        check(version == VERSION, "the version of the pack", f"{VERSION}", version)
        return _read_arrays(folder, manifest)


def _read_arrays(folder: Path, manifest: dict[str, Any]) -> Pack:
    hashes = checked_hashes(folder, manifest)

    def read(name: str) -> bytes:
        if name not in hashes:
            raise ValueError(f"the manifest has no SHA-256 for {shown(name)}")
        return (folder / name).read_bytes()

    net = Network.from_json(read("network.json").decode())
    bundles = {name: from_npz(read(name)) for name in hashes if name.endswith(".npz")}
    found: dict[str, dict[str, Array]] = {"tensor": {}, "parameter": {}}
    for entry in checked_entries(manifest):
        with naming(f"{entry.role} {shown(entry.name)}"):
            if entry.name in found[entry.role]:
                raise ValueError("is listed twice")
            array = _read_entry(entry, bundles.get(f"{entry.role}s.npz"), read)
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
        raise ValueError("is in no file")
    dtype = np.dtype(KINDS[entry.dtype].dtype)
    fits = stored.dtype == dtype and stored.size == math.prod(entry.shape)
    check(fits, "the stored array", f"{entry.dtype} array of shape {entry.shape}", stored)
    return from_axes(restore(stored, entry.fraction_bits).reshape(entry.shape), entry.axes)
