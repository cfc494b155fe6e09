"""What a pickle of tensors may hold, as plain values, and the calls that it may make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sesr_ref.exchange.refusal import require

MAX_AXES = 32
MAX_LENGTH = 1 << 48
"""Longest axis, stride or offset, beyond any storage."""

STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
}
"""PyTorch's storages and the numbers they hold."""


class Global(NamedTuple):
    """A name that the pickle refers to; never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        """Write it as in an import, cut where it is long."""
        return f"{self.module:.80}.{self.name:.80}"


class Storage(NamedTuple):
    """Where a tensor's numbers are: the archive's member ``data/<key>``."""

    key: str
    dtype: str
    length: int


class Tensor(NamedTuple):
    """What torch._utils._rebuild_tensor_v2 would be given."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Inert(NamedTuple):
    """What an allowed call or object would be that holds no tensor; nothing is kept of it."""

    name: Global


ORDERED_DICT = Global("collections", "OrderedDict")
TENSOR = Global("torch._utils", "_rebuild_tensor_v2")
PARAMETER = Global("torch._utils", "_rebuild_parameter")
HARMLESS = {
    Global("_codecs", "encode"),
    Global("argparse", "Namespace"),
    Global("collections", "Counter"),
    Global("collections", "defaultdict"),
    Global("numpy", "dtype"),
    Global("numpy._core.multiarray", "scalar"),
    Global("numpy.core.multiarray", "scalar"),
    Global("torch", "Size"),
    Global("torch", "device"),
    *(Global("builtins", name) for name in ("dict", "float", "int", "list", "set")),
    *(Global("__builtin__", name) for name in ("dict", "float", "int", "list", "set")),
}
"""What checkpoints hold beside tensors: scores, sizes, the options of a run."""
ALLOWED = {
    *(ORDERED_DICT, TENSOR, PARAMETER),
    *HARMLESS,
    *(Global("torch", name) for name in STORAGES),
}
"""Everything that a pickle may name."""


def short(value: object) -> str:
    """A value in a few words; what it holds is not looked into.

    Parameters
    ----------
    value : object
        Of a pickle.

    Returns
    -------
    str
        At most about 200 characters.
    """
    if isinstance(value, Global):
        return str(value)
    if isinstance(value, (str, bytes)):
        return repr(value[:60])
    if value is None or isinstance(value, (bool, int, float)):
        return f"{value!r:.60}"
    if isinstance(value, (dict, list)) or type(value) is tuple:
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def _ordered_dict(*arguments: Any) -> dict[Any, Any]:
    require(not arguments, "refused: an OrderedDict made of something")
    return {}


def _rebuild_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, *unused: Any
) -> Tensor:  # requires_grad, hooks and metadata change no number
    tuples = type(size) is tuple and type(stride) is tuple and len(size) == len(stride) <= MAX_AXES
    numbers = (offset, *size, *stride) if tuples else (None,)
    require(
        isinstance(storage, Storage)
        and all(type(n) is int and 0 <= n < MAX_LENGTH for n in numbers),
        f"a tensor of {short(storage)} with offset {short(offset)}, "
        f"size {each_of(size)} and stride {each_of(stride)}",
    )
    return Tensor(storage, offset, size, stride)


def each_of(value: object) -> str:
    """A tuple's items in a few words each."""
    if type(value) is not tuple or len(value) > 6:
        return short(value)
    return f"({', '.join(short(item) for item in value)})"


def _rebuild_parameter(data: Any, *unused: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise ValueError("a parameter that is no tensor")
    return data


CALLS: dict[Global, Callable[..., Any]] = {
    ORDERED_DICT: _ordered_dict,
    TENSOR: _rebuild_tensor,
    PARAMETER: _rebuild_parameter,
}
"""What stands for the functions that a pickle may call."""
