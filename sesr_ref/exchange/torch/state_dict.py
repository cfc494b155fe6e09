"""PyTorch state dicts (.pth) in and out, without torch and without executing pickles."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.exchange.rounding import bfloat16_values
from sesr_ref.exchange.state import DESCRIPTION, Arrays, from_state, to_state
from sesr_ref.exchange.torch.pickle import MAX_PICKLE_BYTES, STORAGES, Storage, Tensor, read_pickle
from sesr_ref.files import atomic_write
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params

MAX_BYTES = 1 << 30
"""Largest file."""
MAX_ELEMENTS = 1 << 28
"""Most numbers of all tensors together; strides of 0 could make many of few."""
WRAPPERS = ("state_dict", "params_ema", "params", "model_state_dict", "model", "net", "weights")
"""Keys under which checkpoints keep the state dict, beside optimizers and counters."""


def load_state_dict(path: str | Path) -> tuple[Network, Params]:
    """Read SESR from a PyTorch state dict, in our own names or a dialect that is known.

    Parameters
    ----------
    path : path
        What torch.save (1.6 or newer) or `save_state_dict` wrote: a state dict, or a checkpoint
        that keeps one under a usual key.

    Returns
    -------
    net, params
        As `sesr_ref.exchange.state.from_state`.

    Raises
    ------
    ValueError
        If the file is damaged, holds code (naming the class, function or opcode), or names that
        no dialect has.
    """
    arrays = dict(read_state_dict(Path(path)))
    description = arrays.pop(DESCRIPTION, None)
    try:
        text = None if description is None else description.tobytes().decode()
        return from_state(arrays, text)
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"{path}: {error}") from None


def read_state_dict(path: Path) -> Arrays:
    """Read the arrays of a state dict, whatever they are called.

    Parameters
    ----------
    path : Path
        As for `load_state_dict`.

    Returns
    -------
    dict of arrays
        bfloat16 as float32.

    Raises
    ------
    ValueError
        If the file is damaged or holds code.
    """
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            return _read(archive)
    except zipfile.BadZipFile as error:
        why = "not a PyTorch file, a truncated one, or one from before PyTorch 1.6"
        raise ValueError(f"{path}: {why} ({error}): save it again with torch.save") from None
    except (ValueError, EOFError, NotImplementedError, zipfile.LargeZipFile) as error:
        raise ValueError(f"{path}: {error}") from None


def _read(archive: zipfile.ZipFile) -> Arrays:
    members = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError(f"a PyTorch file has one data.pkl, this has {len(pickles)}")
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise ValueError("holds compressed members, which torch.save never writes")
    if (total := sum(info.file_size for info in members.values())) > MAX_BYTES:
        raise ValueError(f"claims {total} bytes, more than {MAX_BYTES}")
    root = pickles[0].removesuffix("data.pkl")
    if members[pickles[0]].file_size > MAX_PICKLE_BYTES:
        raise ValueError(f"its pickle is larger than {MAX_PICKLE_BYTES} bytes")
    order = archive.read(f"{root}byteorder") if f"{root}byteorder" in members else b"little"
    if order not in (b"little", b"big"):
        raise ValueError(f"byte order {order[:20]!r} is neither little nor big")
    tensors = _state_of(read_pickle(archive.read(pickles[0])))
    if (count := sum(math.prod(t.size) for t in tensors.values())) > MAX_ELEMENTS:
        raise ValueError(f"its tensors have {count} numbers, more than {MAX_ELEMENTS}")
    mark = "<" if order == b"little" else ">"
    storages = {t.storage: _storage(archive, root, mark, t.storage) for t in tensors.values()}
    return {name: _array(name, t, storages[t.storage]) for name, t in tensors.items()}


def _state_of(content: Any) -> dict[str, Tensor]:
    """The dictionary of tensors, itself or below a usual key."""
    if isinstance(content, dict):
        wrapped = [key for key in WRAPPERS if isinstance(content.get(key), dict)]
        if wrapped and not any(isinstance(value, Tensor) for value in content.values()):
            content = content[wrapped[0]]
    if not isinstance(content, dict):
        raise ValueError(f"holds a {type(content).__name__}, not a state dict")
    for name, value in content.items():
        if not isinstance(value, Tensor) or not isinstance(name, str):
            raise ValueError(f"its entry {name!r} is a {type(value).__name__}, not a tensor")
    return content


def _storage(
    archive: zipfile.ZipFile, root: str, mark: str, storage: Storage
) -> np.ndarray[Any, np.dtype[Any]]:
    """The numbers of a storage, as one axis; bfloat16's as integers."""
    member = f"{root}data/{storage.key}"
    dtype = np.dtype(mark + ("u2" if storage.dtype == "bf16" else storage.dtype))
    try:
        data = archive.read(member)
    except KeyError:
        raise ValueError(f"the archive has no {member!r}") from None
    if len(data) != storage.length * dtype.itemsize:
        raise ValueError(f"{member!r} has {len(data)} bytes, not {storage.length} numbers")
    return np.frombuffer(data, dtype)


def _array(
    name: str, tensor: Tensor, numbers: np.ndarray[Any, np.dtype[Any]]
) -> np.ndarray[Any, np.dtype[Any]]:
    storage, offset, size, stride = tensor
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if 0 in size:
        offset, stride = 0, (0,) * len(size)
    elif last >= len(numbers):
        raise ValueError(f"{name}: size {size} reaches beyond its {len(numbers)} numbers")
    strides = [s * numbers.itemsize for s in stride]
    array = np.lib.stride_tricks.as_strided(numbers[offset:], size, strides, writeable=False)
    if storage.dtype == "bf16":
        return bfloat16_values(array)
    return array.astype(array.dtype.newbyteorder("="))


def save_state_dict(
    path: str | Path,
    net: Network,
    params: Params,
    dialect: str = "sesr-ref",
    overwrite: bool = True,
) -> None:
    """Write a network's parameters as a PyTorch state dict that torch.load reads.

    Parameters
    ----------
    path : path
        Its folder must exist; written under a temporary name, then renamed.
    net : Network
        What the parameters belong to; in our own names its description goes along as the bytes
        ``network.json``.
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
    """
    arrays: dict[str, np.ndarray[Any, np.dtype[Any]]] = dict(to_state(net, params, dialect))
    if dialect == "sesr-ref":
        arrays[DESCRIPTION] = np.frombuffer(net.to_json().encode(), np.uint8)
    with atomic_write(Path(path), overwrite) as stream, zipfile.ZipFile(stream, "w") as archive:
        _member(archive, "data.pkl", _pickle(arrays))
        _member(archive, "byteorder", b"little")
        for i, array in enumerate(arrays.values()):
            _member(archive, f"data/{i}", array.astype(array.dtype.newbyteorder("<")).tobytes())
        _member(archive, "version", b"3\n")


def _member(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)  # dated 1980: the same bytes always


def _pickle(arrays: Arrays) -> bytes:
    """The pickle that torch.save writes for an OrderedDict of contiguous tensors."""
    kinds = {dtype: name for name, dtype in STORAGES.items()}
    ordered_dict = b"ccollections\nOrderedDict\n)R"
    items = []
    for i, (name, array) in enumerate(arrays.items()):
        kind = f"ctorch\n{kinds[array.dtype.str[1:]]}\n".encode()
        key = _text(str(i)) + _text("cpu") + _integers(array.size)
        storage = b"(" + _text("storage") + kind + key + b"tQ"
        stride = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
        view = _integers(0) + _tuple_of(array.shape) + _tuple_of(stride) + b"\x89" + ordered_dict
        items += [_text(name), b"ctorch._utils\n_rebuild_tensor_v2\n(", storage, view, b"tR"]
    return b"\x80\x02" + ordered_dict + b"(" + b"".join(items) + b"u."


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _integers(*numbers: int) -> bytes:
    return b"".join(b"J" + struct.pack("<i", number) for number in numbers)


def _tuple_of(numbers: Sequence[int]) -> bytes:
    return b"(" + _integers(*numbers) + b"t"
