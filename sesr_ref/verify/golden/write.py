"""Write golden packs: every tensor and parameter of one run, to be reproduced bit by bit.

The run is that of a port that rounds once per layer (`sesr_ref.verify.golden.rounded_run`); runs on
different machines write the same bytes.  The manifest has a SHA-256 for every file.
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
from sesr_ref.limits import check, one_of
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
    """Run a network as a port would, and write every tensor and parameter.

    Parameters
    ----------
    folder : path
        Folder to create; it appears complete or not at all.
    net, params
        A network and its parameters; linear blocks are collapsed.
    x : (n, height, width, channels) float32 or float64 array
        The input.
    dtype : {"float32", "float16", "int8", "int16", "int32"}
        The type to round values to; integers are multiples of a power of two, which is stated for
        each array.
    files : sequence of {"npz", "bin", "c", "hex"}
        NumPy, raw little-endian, C headers, Verilog's ``$readmemh``.
    layout : {"NHWC", "NCHW"}
        Layout of tensors; weights are HWIO or OIHW, respectively.
    overwrite : bool
        Whether to replace an existing pack, if its folder has no other files.
    scales : path, optional
        A pack of the same network in the same integer type whose fraction bits to use; values
        beyond their range saturate.  By default each array has as many as its largest value leaves.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    ValueError
        For an unknown option, values beyond the type's range, too many values, or parameters or
        images that do not fit.
    FileExistsError
        If the folder exists and `overwrite` is false, is a link, or has other files than a pack.
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
    """Estimate the size of the tensors that `write_pack` would write with these arguments.

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
        If there are more values than a pack may contain.
    """
    kind = KINDS[dtype]
    sample, _ = store(np.linspace(-1, 1, 1 << 12), kind)
    written = [ENCODINGS[key].write("", sample, kind, 0) for key in files if key in ENCODINGS]
    binary: int = sample.nbytes if "npz" in files else 0
    total = binary + sum(len(data) for data in written)
    return _count(collapsed(net), x, files) * total // len(sample)


def _count(net: Network, x: Array, files: Sequence[str]) -> int:
    """Count the values of all tensors; ValueError for more than such files may contain."""
    shapes = net.shapes(*x.shape[1:3]).values()
    values: int = x.shape[0] * sum(math.prod(shape) for shape in shapes)
    limit = MAX_VALUES if set(files) <= {"npz", "bin"} else MAX_TEXT_VALUES
    check(values <= limit, "the number of values", f"at most {limit} for such a pack", values)
    return values


def _check_options(dtype: str, files: Sequence[str], layout: str) -> None:
    one_of("a pack's dtype", dtype, KINDS)
    known = files and set(files) <= set(FILES)
    check(known, "a pack's files", f"some of {', '.join(FILES)}", files)
    one_of("layout", layout, LAYOUTS)


def _write_files(
    folder: Path,
    net: Network,
    arrays: dict[str, dict[str, Rounded]],
    dtype: str,
    files: Sequence[str],
    layout: str,
) -> dict[str, Any]:
    hashes: dict[str, str] = {}

    def write(name: str, data: bytes) -> str:
        (folder / name).write_bytes(data)
        hashes[name] = hashlib.sha256(data).hexdigest()
        return name

    write("network.json", (net.to_json(indent=2) + "\n").encode())
    entries: list[dict[str, Any]] = []
    for role, named in arrays.items():
        bundle: dict[str, Stored] = {}
        for name, array in named.items():
            stem = name if SAFE_NAME.fullmatch(name) else f"array{len(entries)}"
            axes, bits = _axes(array.stored, role, layout), array.fraction_bits
            bundle[stem] = stored = to_axes(array.stored, axes)
            written = {}
            for key in files:
                if (way := ENCODINGS.get(key)) is not None:
                    data = way.write(stem, stored, KINDS[dtype], bits)
                    written[key] = write(f"{role}.{stem}{way.suffix}", data)
            entry: dict[str, Any] = {"name": name, "role": role, "shape": stored.shape}
            entry |= {"dtype": dtype, "axes": axes, "fraction_bits": bits}
            entry |= {"saturated": array.saturated, "stem": stem, "files": written}
            entries.append(entry)
        if "npz" in files:
            write(f"{role}s.npz", to_npz(bundle))
    manifest = _manifest(net.name, dtype, layout, entries, hashes)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    return manifest


def _manifest(
    network: str, dtype: str, layout: str, entries: list[dict[str, Any]], hashes: dict[str, str]
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "network": network,
        "dtype": dtype,
        "layout": layout,
        "byte_order": "little",
        "versions": _versions(),
        "arrays": entries,
        "sha256": hashes,
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("sesr-ref")
    except PackageNotFoundError:
        own = "not installed"
    return {"sesr-ref": own, "numpy": np.__version__}


def _axes(array: Stored, role: str, layout: str) -> str:
    """Names of the axes of an array in the pack."""
    if array.ndim != 4:
        return "C"
    return LAYOUTS[layout][role == "parameter"]
