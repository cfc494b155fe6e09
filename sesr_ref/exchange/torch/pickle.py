"""Reading the pickle inside a PyTorch file without unpickling it.

A pickle is a program.  This reads the few instructions that tensors in dictionaries need, on a
stack of plain values: it imports nothing, calls nothing that the file names, and refuses the rest.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MAX_PICKLE_BYTES = 16 << 20

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
        """Write it as in an import."""
        return f"{self.module}.{self.name}"


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


_MARK = object()
_ORDERED_DICT = Global("collections", "OrderedDict")
_TENSOR = Global("torch._utils", "_rebuild_tensor_v2")
_PARAMETER = Global("torch._utils", "_rebuild_parameter")
ALLOWED = {_ORDERED_DICT, _TENSOR, _PARAMETER, *(Global("torch", name) for name in STORAGES)}
"""Everything that a pickle may name."""


@dataclass
class _Machine:
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def pop(self, count: int = 1) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("takes more values than there are")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def pop_marked(self) -> list[Any]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                values = self.stack[i + 1 :]
                del self.stack[i:]
                return values
        raise ValueError("has no mark to go back to")


def read_pickle(data: bytes) -> Any:
    """Read a pickle of dictionaries, lists, numbers, text and tensors.

    Parameters
    ----------
    data : bytes
        What torch.save wrote into data.pkl.

    Returns
    -------
    object
        Plain values, with `Tensor` for each tensor.

    Raises
    ------
    ValueError
        Naming the class or function that the pickle wants to use, or the instruction, and where.
    """
    if len(data) > MAX_PICKLE_BYTES:
        raise ValueError(f"a pickle of {len(data)} bytes, more than {MAX_PICKLE_BYTES}")
    machine = _Machine()
    try:
        for opcode, argument, position in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.pop()[0]
            _step(machine, opcode.name, argument, position)
    except ValueError as error:
        raise ValueError(" ".join(str(error).split())) from None
    raise ValueError("the pickle does not end")


def _step(machine: _Machine, name: str, argument: Any, position: int | None) -> None:
    if name not in RULES:
        raise ValueError(f"refused: pickle opcode {name} at byte {position}")
    try:
        RULES[name](machine, argument)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{error} (pickle opcode {name} at byte {position})") from None


def _push(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


def _global(machine: _Machine, module: str, name: str) -> None:
    found = Global(module, name)
    if found not in ALLOWED:
        raise ValueError(f"refused: the pickle names {found}, only plain tensors are read")
    _push(machine, found)


def _stack_global(machine: _Machine, argument: None) -> None:
    module, name = machine.pop(2)
    _global(machine, str(module), str(name))


def _reduce(machine: _Machine, argument: None) -> None:
    function, arguments = machine.pop(2)
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
        raise ValueError("refused: the pickle calls something that is no allowed name")
    if function not in CALLS:
        raise ValueError(f"refused: the pickle calls {function}")
    _push(machine, CALLS[function](*arguments))


def _ordered_dict(*arguments: Any) -> dict[Any, Any]:
    if arguments:
        raise ValueError("refused: an OrderedDict made of something")
    return {}


def _rebuild_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, *unused: Any
) -> Tensor:  # requires_grad, hooks and metadata change no number
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Storage) or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError(f"a tensor of {storage!r:.80} with {numbers!r:.80}")
    if len(size) != len(stride) or len(size) > 32:
        raise ValueError(f"a tensor with size {size} and stride {stride}")
    return Tensor(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(data: Any, *unused: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise ValueError("a parameter that is no tensor")
    return data


CALLS: dict[Global, Callable[..., Any]] = {
    _ORDERED_DICT: _ordered_dict,
    _TENSOR: _rebuild_tensor,
    _PARAMETER: _rebuild_parameter,
}
"""What stands for the functions that a pickle may call."""


def _persistent(machine: _Machine, argument: None) -> None:
    (value,) = machine.pop()
    if not isinstance(value, tuple) or len(value) != 5 or value[0] != "storage":
        raise ValueError(f"refused: a persistent id {value!r:.80} that is no storage")
    _, kind, key, _, count = value
    named = isinstance(kind, Global) and kind.name in STORAGES and isinstance(key, str)
    if not named or type(count) is not int or count < 0:
        raise ValueError(f"a storage of {kind!s:.80}, {count!r:.80} numbers")
    _push(machine, Storage(key, STORAGES[kind.name], count))


def _set_items(machine: _Machine, pairs: list[Any]) -> None:
    (target,) = machine.pop()
    if not isinstance(target, dict) or len(pairs) % 2:
        raise ValueError("sets items of something that is no dictionary")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        if not isinstance(key, (str, int)):
            raise ValueError(f"a dictionary's key {key!r:.80} is neither text nor a number")
        target[key] = value
    _push(machine, target)


def _append(machine: _Machine, values: list[Any]) -> None:
    (target,) = machine.pop()
    if not isinstance(target, list):
        raise ValueError("appends to something that is no list")
    target.extend(values)
    _push(machine, target)


def _build(machine: _Machine, argument: None) -> None:
    target, _ = machine.pop(2)
    if not isinstance(target, dict):  # a state dict's _metadata, which changes no number
        raise ValueError("refused: the pickle sets the state of an object")
    _push(machine, target)


def _put(machine: _Machine, index: int | None) -> None:
    (value,) = machine.pop()
    machine.memo[len(machine.memo) if index is None else index] = value
    _push(machine, value)


def _tuple(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: _push(machine, tuple(machine.pop(count)))


_LITERALS = (
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "BINFLOAT",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
)
RULES: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "MARK": lambda machine, _: _push(machine, _MARK),
    **dict.fromkeys(_LITERALS, _push),
    "NONE": lambda machine, _: _push(machine, None),
    "NEWTRUE": lambda machine, _: _push(machine, True),
    "NEWFALSE": lambda machine, _: _push(machine, False),
    "EMPTY_TUPLE": lambda machine, _: _push(machine, ()),
    "EMPTY_LIST": lambda machine, _: _push(machine, []),
    "EMPTY_DICT": lambda machine, _: _push(machine, {}),
    "TUPLE": lambda machine, _: _push(machine, tuple(machine.pop_marked())),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "APPEND": lambda machine, _: _append(machine, machine.pop()),
    "APPENDS": lambda machine, _: _append(machine, machine.pop_marked()),
    "SETITEM": lambda machine, _: _set_items(machine, machine.pop(2)),
    "SETITEMS": lambda machine, _: _set_items(machine, machine.pop_marked()),
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": _put,
    "BINGET": lambda machine, index: _push(machine, machine.memo[index]),
    "LONG_BINGET": lambda machine, index: _push(machine, machine.memo[index]),
    "GLOBAL": lambda machine, names: _global(machine, *names.split(" ", 1)),
    "STACK_GLOBAL": _stack_global,
    "BINPERSID": _persistent,
    "REDUCE": _reduce,
    "BUILD": _build,
}
"""Every instruction that is read; STOP ends."""
