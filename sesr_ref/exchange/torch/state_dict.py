"""PyTorch state dicts (.pth) in and out, without torch and without executing pickles."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.exchange.dialects import DIALECTS
from sesr_ref.exchange.kinds import OLD_TORCH, TORCH, kind_of
from sesr_ref.exchange.modules import Arrays
from sesr_ref.exchange.rounding import bfloat16_values
from sesr_ref.exchange.state import from_state, to_state
from sesr_ref.exchange.torch.archive import Saved, Stored, read_archive, read_old
from sesr_ref.exchange.torch.pickle import STORAGES, Tensor, short
from sesr_ref.files import atomic_write
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.params import DESCRIPTION

MAX_ELEMENTS = 1 << 28
"""Most numbers of all tensors together."""
FEW = 1 << 16
"""Numbers that strides may make of fewer stored ones."""
WRAPPERS = (
    *("params_ema", "ema", "state_dict_ema", "params", "state_dict", "model_state_dict"),
    *("generator_state_dict", "net_g", "G", "generator", "model", "net", "network", "weights"),
)
"""Keys under which checkpoints keep the state dict, beside optimizers and counters; averaged
weights first."""
MAX_DEPTH = 4
"""Most wrappers inside each other."""


def load_state_dict(
    path: str | Path, architecture: str | Network | None = None
) -> tuple[Network, Params]:
    """Read a PyTorch state dict as a network.

    Parameters
    ----------
    path : path
        What torch.save or `save_state_dict` wrote: a state dict, or a checkpoint that keeps one
        under a usual key.
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
        If the file is damaged, holds code (naming the class, function or opcode), or parameters
        that fit no network, or several.
    """
    path = Path(path)
    arrays, description = _read(path)
    if DESCRIPTION in arrays:
        arrays = dict(arrays)
        description = arrays.pop(DESCRIPTION).tobytes()
    try:
        text = None if description is None else description.decode()
        return from_state(arrays, text, architecture)
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
        If the file is of another kind, damaged or holds code.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[Arrays, bytes | None]:
    """The arrays, and the network's description where we put it beside them."""
    kind = kind_of(path)
    if kind not in (TORCH, OLD_TORCH, None):
        raise ValueError(f"{path}: not a PyTorch file but {kind}")
    try:
        with path.open("rb") as stream:
            saved = read_old(stream) if kind == OLD_TORCH else read_archive(stream)
            return _arrays(saved), saved.description
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: not a PyTorch file, or a truncated one ({error})") from None
    except (ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.LargeZipFile) as error:
        raise ValueError(f"{path}: {error}") from None


def _arrays(saved: Saved) -> Arrays:
    tensors = _state_of(saved.content)
    _check_sizes(tensors)
    numbers = {t.storage: saved.numbers(t.storage) for t in tensors.values()}
    return {name: _array(t, numbers[t.storage]) for name, t in tensors.items()}


def _state_of(content: Any) -> dict[str, Tensor]:
    """The dictionary of tensors, itself or below usual keys; counters beside them are left out."""
    for _ in range(MAX_DEPTH):
        below = [key for key in WRAPPERS if _has_dict(content, key)]
        if not below or any(_is_weight(value) for value in content.values()):
            break
        content = content[below[0]]
    if not isinstance(content, dict):
        raise ValueError(f"holds {short(content)}, not a state dict")
    counters = (int, float, str, type(None)) if _tensors(content.values()) else ()
    state = {key: value for key, value in content.items() if type(value) not in counters}
    for name, value in state.items():
        if not isinstance(value, Tensor) or not isinstance(name, str):
            raise ValueError(f"its entry {short(name)} is {_article(value)}, not a tensor")
    return state


def _has_dict(content: Any, key: str) -> bool:
    return isinstance(content, dict) and isinstance(content.get(key), dict)


def _is_weight(value: object) -> bool:
    return isinstance(value, Tensor) and len(value.size) == 4


def _tensors(values: Iterable[object]) -> bool:
    return any(isinstance(value, Tensor) for value in values)


def _article(value: object) -> str:
    return f"a {type(value).__name__}"


def _check_sizes(tensors: dict[str, Tensor]) -> None:
    """Reject tensors that claim other numbers than their storages have, before any is read."""
    for name, (storage, offset, size, stride) in tensors.items():
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if 0 not in size and last >= storage.length:
            raise ValueError(
                f"{name:.200}: size {size} reaches beyond its {storage.length} numbers"
            )
        if (count := math.prod(size)) > max(storage.length, FEW):
            raise ValueError(f"{name:.200}: {count} numbers made of {storage.length} stored ones")
    count = sum(math.prod(tensor.size) for tensor in tensors.values())
    held = sum(storage.length for storage in {t.storage for t in tensors.values()})
    if count > min(4 * held + FEW, MAX_ELEMENTS):
        raise ValueError(
            f"its tensors have {count} numbers, more than {MAX_ELEMENTS} or four times those stored"
        )


def _array(tensor: Tensor, numbers: Stored) -> Stored:
    storage, offset, size, stride = tensor
    if 0 in size:
        offset, stride = 0, (0,) * len(size)
    strides = [s * numbers.itemsize for s in stride]
    array = np.lib.stride_tricks.as_strided(numbers[offset:], size, strides, writeable=False)
    if storage.dtype == "bf16":
        return bfloat16_values(array)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


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
        What the parameters belong to; its description goes along as the bytes ``network.json`` in
        our own names, and in PyTorch's beside the pickle, where torch.load does not look.
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
    arrays: dict[str, Stored] = dict(to_state(net, params, dialect))
    description = net.to_json().encode()
    if dialect == "sesr-ref":
        arrays[DESCRIPTION] = np.frombuffer(description, np.uint8)
    with atomic_write(Path(path), overwrite) as stream, zipfile.ZipFile(stream, "w") as archive:
        _member(archive, "data.pkl", _pickle(arrays))
        _member(archive, "byteorder", b"little")
        for i, array in enumerate(arrays.values()):
            _member(archive, f"data/{i}", array.astype(array.dtype.newbyteorder("<")).tobytes())
        if DESCRIPTION not in arrays and DIALECTS[dialect].write:
            _member(archive, DESCRIPTION, description)
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
