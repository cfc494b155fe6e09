"""The tensors of what torch.save was given, found under usual keys, as arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from sesr_ref.exchange.layouts import Stored
from sesr_ref.exchange.modules import Arrays
from sesr_ref.exchange.rejection import require
from sesr_ref.exchange.rounding import bfloat16_values
from sesr_ref.exchange.torch.archive import Saved
from sesr_ref.exchange.torch.plain import Tensor, short

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


def arrays_of(saved: Saved) -> Arrays:
    """Read the tensors of a state dict.

    Parameters
    ----------
    saved : Saved
        A state dict, or a checkpoint that keeps one under a usual key.

    Returns
    -------
    dict of arrays
        bfloat16 as float32.

    Raises
    ------
    ValueError
        Naming what is no tensor, or a tensor that claims more numbers than there are.
    """
    tensors = _state_of(saved.content)
    _check_sizes(tensors)
    numbers = {t.storage: saved.numbers(t.storage) for t in tensors.values()}
    return {name: _array(t, numbers[t.storage]) for name, t in tensors.items()}


def _state_of(content: Any) -> dict[str, Tensor]:
    """The dictionary of tensors, itself or below usual keys; counters beside them are left out."""
    for _ in range(MAX_DEPTH):
        below = [key for key in WRAPPERS if isinstance(content, dict) and _holds(content.get(key))]
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


def _holds(value: object) -> bool:
    """Whether it is a dictionary of tensors, or one that keeps such a dictionary."""
    if not isinstance(value, dict):
        return False
    return _tensors(value.values()) or any(isinstance(value.get(key), dict) for key in WRAPPERS)


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
        inside, count = 0 in size or last < storage.length, math.prod(size)
        require(inside, f"{name:.200}: size {size} reaches beyond its {storage.length} numbers")
        few = count <= max(storage.length, FEW)
        require(few, f"{name:.200}: {count} numbers made of {storage.length} stored ones")
    count = sum(math.prod(tensor.size) for tensor in tensors.values())
    held = sum(storage.length for storage in {t.storage for t in tensors.values()})
    require(
        count <= min(4 * held + FEW, MAX_ELEMENTS),
        f"its tensors have {count} numbers, more than {MAX_ELEMENTS} or four times those stored",
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
