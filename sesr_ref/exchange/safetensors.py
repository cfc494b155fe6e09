"""safetensors in and out; the format itself is read and written by its own package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.exchange.dialects import DIALECTS
from sesr_ref.exchange.kinds import SAFETENSORS, check_kind
from sesr_ref.exchange.layouts import Stored
from sesr_ref.exchange.rounding import bfloat16_values
from sesr_ref.exchange.state import from_state, to_state
from sesr_ref.exchange.values import check_count
from sesr_ref.extras import need
from sesr_ref.files import atomic_write
from sesr_ref.limits import check, naming, one_of
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.params import DESCRIPTION

MAX_BYTES = 1 << 30
"""Largest file."""
MAX_HEADER_BYTES = 8 << 20
LENGTH_BYTES = 8
"""Bytes of the header's length, with which a file begins."""
DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}
"""Types that parameters may have, and how NumPy reads their bytes."""


def _module(name: str) -> Any:
    return need(name, "onnx", ".safetensors files")


def load_safetensors(
    path: str | Path, architecture: str | Network | None = None
) -> tuple[Network, Params]:
    """Read a safetensors file as a network.

    Parameters
    ----------
    path : path
        Written by `save_safetensors` or somebody else.
    architecture : str or Network, optional
        Which network the parameters are of, where their names do not say, as
        `sesr_ref.architecture` takes it.

    Returns
    -------
    net, params
        As `sesr_ref.exchange.state.from_state`.

    Raises
    ------
    ValueError
        If the file is damaged, has types that are not floats, or parameters that fit no network, or
        several.
    ImportError
        When safetensors is not installed, with the extra's name.
    """
    path = Path(path)
    with naming(path):
        check_kind(path, SAFETENSORS)
        _check_sizes(path)
        arrays, metadata = _read(path)
        # the format sorts by name: the order of the layers is lost
        return from_state(arrays, metadata.get(DESCRIPTION), architecture, ordered=False)


def _check_sizes(path: Path) -> None:
    """Reject a file whose size or header's size is out of bounds."""
    size = path.stat().st_size
    check(size <= MAX_BYTES, "its size", f"at most {MAX_BYTES} bytes", size)
    with path.open("rb") as stream:
        header = int.from_bytes(stream.read(LENGTH_BYTES), "little")
    if header > min(size, MAX_HEADER_BYTES):
        raise ValueError(f"not a safetensors file, or damaged: a header of {header} bytes")


def _read(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    package = _module("safetensors")
    try:
        with package.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            check_count(file.keys())
        entries = package.deserialize(path.read_bytes())
    except package.SafetensorError as error:
        raise ValueError(f"not a safetensors file, or damaged ({error!s:.200})") from None
    return {name: _array(name, entry) for name, entry in entries}, metadata


def _array(name: str, entry: dict[str, Any]) -> Stored:
    kind = entry["dtype"]
    one_of(f"{name:.200}: the dtype", kind, DTYPES)
    array = np.frombuffer(entry["data"], DTYPES[kind]).reshape(entry["shape"])
    if kind == "BF16":
        return bfloat16_values(array)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def save_safetensors(
    path: str | Path,
    net: Network,
    params: Params,
    dialect: str = "sesr-ref",
    overwrite: bool = True,
) -> None:
    """Write a network's parameters as safetensors.

    Parameters
    ----------
    path : path
        Its folder must exist; written under a temporary name, then renamed.
    net : Network
        What the parameters belong to; in our own names and PyTorch's its description goes into the
        metadata.
    params : dict of arrays
        float16, float32 or float64, kept as they are.
    dialect : str
        A key of `sesr_ref.exchange.dialects.DIALECTS`.
    overwrite : bool
        Whether an existing file is replaced.

    Raises
    ------
    ValueError
        If `params` do not fit `net`, or `net` is not what the dialect describes.
    FileExistsError
        If the file exists and shall not be overwritten.
    ImportError
        When safetensors is not installed, with the extra's name.
    """
    state = to_state(net, params, dialect)
    metadata = {} if dialect == "sesr-ref" else {"format": "pt"}
    if DIALECTS[dialect].write:
        metadata[DESCRIPTION] = net.to_json()
    arrays = {name: np.ascontiguousarray(array) for name, array in state.items()}
    data = _module("safetensors.numpy").save(arrays, metadata)
    with atomic_write(Path(path), overwrite) as stream:
        stream.write(data)
