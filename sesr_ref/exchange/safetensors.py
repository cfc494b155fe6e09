"""safetensors in and out; the format itself is read and written by its own package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.exchange.rounding import bfloat16_values
from sesr_ref.exchange.state import DESCRIPTION, from_state, to_state
from sesr_ref.extras import need
from sesr_ref.files import atomic_write
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params

MAX_BYTES = 1 << 30
"""Largest file."""
DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}
"""Types that parameters may have, and how NumPy reads their bytes."""


def _module(name: str) -> Any:
    return need(name, "onnx", ".safetensors files")


def load_safetensors(path: str | Path) -> tuple[Network, Params]:
    """Read SESR from a safetensors file, in our own names or a dialect that is known.

    Parameters
    ----------
    path : path
        Written by `save_safetensors` or somebody else.

    Returns
    -------
    net, params
        As `sesr_ref.exchange.state.from_state`.

    Raises
    ------
    ValueError
        If the file is damaged, has types that are not floats, or names that no dialect has.
    ImportError
        When safetensors is not installed, with the extra's name.
    """
    path = Path(path)
    package = _module("safetensors")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path}: {size} bytes, more than {MAX_BYTES}")
    try:
        with package.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
        entries = package.deserialize(path.read_bytes())
    except package.SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file, or a damaged one ({error})") from None
    try:
        arrays = {name: _array(name, entry) for name, entry in entries}
        return from_state(arrays, metadata.get(DESCRIPTION))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _array(name: str, entry: dict[str, Any]) -> np.ndarray[Any, np.dtype[Any]]:
    kind = entry["dtype"]
    if kind not in DTYPES:
        raise ValueError(f"{name} holds {kind}; supported are {', '.join(DTYPES)}")
    array = np.frombuffer(entry["data"], DTYPES[kind]).reshape(entry["shape"])
    if kind == "BF16":
        return bfloat16_values(array)
    return array.astype(array.dtype.newbyteorder("="))


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
        What the parameters belong to; in our own names its description goes into the metadata.
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
    metadata = {DESCRIPTION: net.to_json()} if dialect == "sesr-ref" else {"format": "pt"}
    arrays = {name: np.ascontiguousarray(array) for name, array in state.items()}
    data = _module("safetensors.numpy").save(arrays, metadata)
    with atomic_write(Path(path), overwrite) as stream:
        stream.write(data)
