"""Reading the pickle inside a PyTorch file without unpickling it.

A pickle is a program.  This reads the few instructions that tensors in dictionaries need, on a
stack of plain values: it imports nothing, calls nothing that the file names, and rejects the rest.
Each instruction takes about as long as its own bytes, and no value is looked into before it is
known to be small: a few bytes can nest a tuple so that writing it out would take for ever.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, Any

from sesr_ref.exchange.rejection import require
from sesr_ref.exchange.torch.plain import (
    ALLOWED,
    CALLS,
    HARMLESS,
    STORAGES,
    Global,
    Inert,
    Storage,
    each_of,
    short,
)

MAX_PICKLE_BYTES = 16 << 20
MAX_STEPS = 1 << 21
"""Most instructions of a pickle: some 200 for each of 10 000 tensors."""
MAX_KEY = 1 << 60
"""Largest integer that may be a dictionary's key: Python hashes these to themselves."""

_MARK = object()


@dataclass
class _Machine:
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    storages: dict[str, Storage] = field(default_factory=dict)

    def pop(self, count: int = 1) -> list[Any]:
        require(len(self.stack) >= count, "takes more values than there are")
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


def read_pickle(data: bytes | IO[bytes], storages: dict[str, Storage] | None = None) -> Any:
    """Read a pickle of dictionaries, lists, numbers, text and tensors.

    Parameters
    ----------
    data : bytes or binary file
        What torch.save wrote into data.pkl; a file is left behind the pickle's end.
    storages : dict, optional
        Takes every storage that is named, by its key.

    Returns
    -------
    object
        Plain values, with `Tensor` for each tensor.

    Raises
    ------
    ValueError
        Naming the class or function that the pickle wants to use, or the instruction, and where.
    """
    if isinstance(data, bytes):
        require(
            len(data) <= MAX_PICKLE_BYTES,
            f"a pickle of {len(data)} bytes, more than {MAX_PICKLE_BYTES}",
        )
        data = BytesIO(data)
    machine = _Machine(storages={} if storages is None else storages)
    try:
        for step, (opcode, argument, position) in enumerate(pickletools.genops(data)):
            if opcode.name == "STOP":
                return machine.pop()[0]
            if step >= MAX_STEPS:
                raise ValueError(f"a pickle of more than {MAX_STEPS} instructions")
            _step(machine, opcode.name, argument, position)
    except ValueError as error:
        raise ValueError(" ".join(f"{error!s:.500}".split())) from None
    raise ValueError("the pickle does not end")


def _step(machine: _Machine, name: str, argument: Any, position: int | None) -> None:
    if name not in RULES:
        raise ValueError(f"rejected: pickle opcode {name} at byte {position}")
    try:
        RULES[name](machine, argument)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{error} (pickle opcode {name} at byte {position})") from None


def _push(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


def _global(machine: _Machine, module: object, name: object) -> None:
    found = Global(module, name) if isinstance(module, str) and isinstance(name, str) else None
    what = str(found) if found else f"{short(module)}.{short(name)}"
    require(found in ALLOWED, f"rejected: the pickle names {what}, only plain tensors are read")
    _push(machine, found)


def _stack_global(machine: _Machine, argument: None) -> None:
    _global(machine, *machine.pop(2))


def _reduce(machine: _Machine, argument: None) -> None:
    function, arguments = machine.pop(2)
    require(
        isinstance(function, Global) and isinstance(arguments, tuple),
        "rejected: the pickle calls something that is no allowed name",
    )
    if function in HARMLESS:
        _push(machine, Inert(function))
        return
    require(function in CALLS, f"rejected: the pickle calls {function}")
    require(len(arguments) <= 16, f"calls {function} with {len(arguments)} arguments")
    _push(machine, CALLS[function](*arguments))


def _new_object(machine: _Machine, argument: None) -> None:
    kind, _ = machine.pop(2)
    known = isinstance(kind, Global) and kind in HARMLESS
    require(known, f"rejected: the pickle makes an object of {short(kind)}")
    _push(machine, Inert(kind))


def _persistent(machine: _Machine, argument: None) -> None:
    """A storage; files from before PyTorch 1.6 state a view of it besides, which must be none."""
    (value,) = machine.pop()
    whole = type(value) is tuple and (len(value) == 5 or (len(value) == 6 and value[5] is None))
    if not whole or value[0] != "storage":
        raise ValueError(f"rejected: a persistent id {each_of(value)} that is no storage")
    _, kind, key, _, count = value[:5]
    named = isinstance(kind, Global) and kind.name in STORAGES and isinstance(key, str)
    require(
        named and type(count) is int and count >= 0,
        f"a storage of {short(kind)}, {short(count)} numbers",
    )
    storage = Storage(key, STORAGES[kind.name], count)
    known = machine.storages.setdefault(key, storage)
    require(known == storage, f"states storage {short(key)} in two ways")
    _push(machine, storage)


def _set_items(machine: _Machine, pairs: list[Any]) -> None:
    (target,) = machine.pop()
    inert = isinstance(target, Inert)
    require(
        (inert or isinstance(target, dict)) and len(pairs) % 2 == 0,
        "sets items of something that is no dictionary",
    )
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        if not isinstance(key, str) and not (isinstance(key, int) and abs(key) < MAX_KEY):
            raise ValueError(f"a key of a dictionary is {short(key)}, neither text nor a number")
        if not inert:
            target[key] = value
    _push(machine, target)


def _append(machine: _Machine, values: list[Any]) -> None:
    (target,) = machine.pop()
    require(isinstance(target, list), "appends to something that is no list")
    target.extend(values)
    _push(machine, target)


def _build(machine: _Machine, argument: None) -> None:
    target, _ = machine.pop(2)
    require(  # a state dict's _metadata, which changes no number
        isinstance(target, (dict, Inert)), "rejected: the pickle sets the state of an object"
    )
    _push(machine, target)


def _put(machine: _Machine, index: int | None) -> None:
    (value,) = machine.pop()
    machine.memo[len(machine.memo) if index is None else index] = value
    _push(machine, value)


def _tuple(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: _push(machine, tuple(machine.pop(count)))


_LITERALS = (
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BYTEARRAY8"),
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
    "NEWOBJ": _new_object,
    "BUILD": _build,
}
"""Every instruction that is read; STOP ends."""
