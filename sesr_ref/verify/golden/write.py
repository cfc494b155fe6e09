"""Golden packs: every tensor and parameter of one run, for whoever must reproduce it bit by bit.

The run is that of a port which rounds once a layer (`sesr_ref.verify.golden.rounded_run`); two runs
on two machines write the same bytes.  The manifest has a SHA-256 for every file.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.arrays_file import Stored
from sesr_ref.collapse import collapsed
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.verify.golden.encodings import ENCODINGS, KINDS, store, to_npz
from sesr_ref.verify.golden.folder import check_target, put_in_place
from sesr_ref.verify.golden.manifest import (
    FORMAT,
    MANIFEST,
    MAX_VALUES,
    VERSION,
    stated_scales,
    to_axes,
)
from sesr_ref.verify.golden.rounded_run import Rounded, rounded_run

FILES = ("npz", *ENCODINGS)
LAYOUTS = {"NHWC": ("NHWC", "HWIO"), "NCHW": ("NCHW", "OIHW")}
MAX_TEXT_VALUES = 1 << 24
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}")


def write_pack(
    folder: str | Path,
    net: Network,
    params: Params,
    x: Array,
    dtype: str = "float32",
    files: Sequence[str] = ("npz",),
    layout: str = "NHWC",
    overwrite: bool = False,
    scales: str | Path | None = None,
) -> dict[str, Any]:
    """Run a network as a port would and write everything about it.

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
    scales : path, optional
        A pack of the same network in the same type of integers, whose fraction bits to use; values
        beyond their range saturate.  Else each array has as many as its own largest value allows.

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
    given = None if scales is None else stated_scales(Path(scales), dtype)
    arrays = rounded_run(net, params, x, KINDS[dtype], given)
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
    written = [ENCODINGS[key].write("", sample, kind, 0) for key in files if key in ENCODINGS]
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
    arrays: dict[str, dict[str, Rounded]],
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
            axes, bits = _axes(array.stored, role, layout), array.fraction_bits
            stored = to_axes(array.stored, axes)
            stem = name if SAFE_NAME.fullmatch(name) else f"array{len(entries)}"
            bundle[stem] = stored
            encodings = [(key, ENCODINGS[key]) for key in files if key in ENCODINGS]
            entries.append({
                "name": name, "role": role, "shape": stored.shape, "dtype": dtype,
                "axes": axes, "fraction_bits": bits,
                "saturated": array.saturated, "stem": stem,
                "files": {k: write(f"{role}.{stem}{e.suffix}", e.write(stem, stored, kind, bits))
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


def _axes(array: Stored, role: str, layout: str) -> str:
    """Names of the axes as written."""
    if array.ndim != 4:
        return "C"
    return LAYOUTS[layout][role == "parameter"]
