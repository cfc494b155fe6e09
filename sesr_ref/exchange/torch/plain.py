"""What a pickle of tensors may hold, as plain values, and the calls that it may make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sesr_ref.exchange.rejection import require

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
OLD_TENSOR = Global("torch._utils", "_rebuild_tensor")
PARAMETER = Global("torch._utils", "_rebuild_parameter")
_HARMLESS = {
    "__builtin__": ("dict", "float", "int", "list", "set"),
    "_codecs": ("encode",),
    "argparse": ("Namespace",),
    "builtins": ("dict", "float", "int", "list", "set"),
    "collections": ("Counter", "defaultdict"),
    "datetime": ("date", "datetime", "timedelta", "timezone"),
    "lightning.fabric.utilities.data": ("AttributeDict",),
    "lightning_fabric.utilities.data": ("AttributeDict",),
    "numpy": ("dtype", "ndarray"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.numeric": ("_frombuffer",),
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
    "numpy.core.numeric": ("_frombuffer",),
    "pathlib": ("Path", "PosixPath", "PurePosixPath", "WindowsPath"),
    "pathlib._local": ("Path", "PosixPath", "PurePosixPath", "WindowsPath"),
    "pytorch_lightning.utilities.parsing": ("AttributeDict",),
    "torch": ("Size", "device"),
    "types": ("SimpleNamespace",),
}
HARMLESS = {Global(module, name) for module, names in _HARMLESS.items() for name in names}
"""What checkpoints hold beside tensors: scores, sizes, options, dates, states of generators."""
ALLOWED = {
    *(ORDERED_DICT, TENSOR, OLD_TENSOR, PARAMETER),
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
    require(not arguments, "rejected: an OrderedDict made of something")
    return {}


def _rebuild_tensor(*arguments: Any) -> Tensor:
    require(len(arguments) >= 4, f"a tensor made of {len(arguments)} value(s)")
    storage, offset, size, stride = arguments[:4]  # gradients, hooks, metadata change no number
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
    OLD_TENSOR: _rebuild_tensor,
    PARAMETER: _rebuild_parameter,
}
"""What stands for the functions that a pickle may call."""
