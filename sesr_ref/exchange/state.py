"""Dictionaries of named arrays: to a network with its parameters, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from sesr_ref.checks import check_params
from sesr_ref.exchange.dialects import DIALECTS, LAYOUTS, Dialect, Name, first_difference
from sesr_ref.network import LinearBlock, Network
from sesr_ref.ops.arrays import Array, Params

Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]
DESCRIPTION = "network.json"
"""Under which files in our own names carry the network's description."""
MAX_BLOCKS = 1000
MAX_ARRAYS = 10_000


def from_state(arrays: Arrays, description: str | None = None) -> tuple[Network, Params]:
    """Recognise whose names these are and return the network.

    Parameters
    ----------
    arrays : dict of arrays
        Float arrays under somebody's names, as in a PyTorch state dict.
    description : str, optional
        The network as JSON, where the file carries it; the names are ours then.

    Returns
    -------
    net : Network
        Without a description, what the dialect's table says; our own names alone do not tell
        whether the input is added to every subpixel: it is, as in the paper.
    params : dict of float32 or float64 arrays
        float16 ones are widened.

    Raises
    ------
    ValueError
        With what was expected and what was found.
    """
    if description is not None:
        net = Network.from_json(description)
        params = {name: _numbers(name, array) for name, array in arrays.items()}
        check_params(net, params)
        return net, params
    if len(arrays) > MAX_ARRAYS:
        raise ValueError(f"{len(arrays)} arrays, more than {MAX_ARRAYS}")
    failures = []
    for dialect in sorted(DIALECTS.values(), key=lambda d: -len(_known(d, arrays))):
        if not _known(dialect, arrays):
            break
        try:
            return _read(dialect, arrays)
        except ValueError as error:
            failures.append(f"{dialect.title}: {error}")
    raise ValueError(failures[0] if failures else _unknown(arrays))


def to_state(net: Network, params: Params, dialect: str = "sesr-ref") -> Params:
    """Parameters under the names and in the layout of a dialect.

    Parameters
    ----------
    net : Network
        For any dialect but "sesr-ref" with the layers that the dialect describes.
    params : dict of arrays
        Its parameters.
    dialect : str
        A key of `DIALECTS`.

    Returns
    -------
    dict of arrays
        `from_state` reads them back.

    Raises
    ------
    ValueError
        If the dialect is unknown or describes another network.
    """
    check_params(net, {name: _numbers(name, array) for name, array in params.items()})
    if dialect not in DIALECTS:
        raise ValueError(f"dialect must be one of {sorted(DIALECTS)}, got {dialect!r}")
    if dialect == "sesr-ref":
        return dict(params)
    table = DIALECTS[dialect]
    rows = [row for row in _rows(table, _block_count(params)) if row.ours in params]
    folded = _without_expand_bias(net, params, {row.ours for row in rows})
    state = {table.prefixes[0] + row.theirs: _theirs(row, folded[row.ours]) for row in rows}
    if (found := _difference(table, state, net)) is not None:
        raise ValueError(f"{net.name} is not the network that {table.title} describes: {found}")
    return state


def _read(dialect: Dialect, arrays: Arrays) -> tuple[Network, Params]:
    prefix = _prefix(dialect, arrays)
    named = {name.removeprefix(prefix): array for name, array in arrays.items()}
    blocks = _block_count({row.ours: 0 for row in _known(dialect, arrays)})
    rows = _rows(dialect, blocks)
    _check_names(rows, named, prefix)
    found = {r.ours: (r, _ours(r, named[r.theirs])) for r in rows if r.theirs in named}
    net = dialect.network({name: array.shape for name, (_, array) in found.items()})
    params: Params = {}
    theirs = {row.ours: prefix + row.theirs for row in rows}
    for name, shape in net.param_shapes().items():
        if name in found:
            params[name] = _fitted(prefix, *found.pop(name), shape)
        elif name.endswith("_bias"):  # the dialect has none: it is zero
            params[name] = np.zeros(shape, np.float32)
        else:
            raise ValueError(f"expected {theirs.get(name, name)} (missing)")
    if found:
        raise ValueError(f"{net.name} has no use for {theirs[next(iter(found))]}")
    return net, params


def _fitted(prefix: str, row: Name, array: Array, shape: tuple[int, ...]) -> Array:
    """The parameter in its shape; one slope for all channels becomes one for each."""
    if array.shape == (1,) and len(shape) == 1:
        array = np.broadcast_to(array, shape).copy()
    if array.shape != shape:
        expected, got = (_theirs(row, _nothing(s)).shape for s in (shape, array.shape))
        raise ValueError(f"{prefix}{row.theirs} must have shape {expected}, got {got}")
    return _numbers(prefix + row.theirs, array)


def _nothing(shape: tuple[int, ...]) -> Array:
    """An array of any shape that takes no memory."""
    return np.broadcast_to(np.float32(0), shape)


def _check_names(rows: list[Name], named: Arrays, prefix: str) -> None:
    missing = [prefix + r.theirs for r in rows if not r.optional and r.theirs not in named]
    extra = [prefix + n for n in sorted(set(named) - {r.theirs for r in rows})]
    if missing or extra:
        raise ValueError(
            f"expected {_listed(missing) or 'nothing else'}"
            + (f"; found {_listed(extra)}, which is not part of it" if extra else " (missing)")
        )


def _listed(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _unknown(arrays: Arrays) -> str:
    wanted = "; ".join(
        f"{d.title}: {_listed([d.prefixes[0] + row.theirs for row in d.names], 3)}"
        for d in DIALECTS.values()
    )
    return f"no layout fits: found {_listed(sorted(arrays)) or 'no arrays'}; expected {wanted}"


def _known(dialect: Dialect, arrays: Arrays) -> list[Name]:
    """Rows of the dialect, blocks counted, that the arrays have."""
    prefix = _prefix(dialect, arrays)
    found = []
    for row in dialect.names:
        pattern = re.escape(row.theirs).replace(r"\{i\}", r"(\d{1,3})")
        for name in arrays:
            if match := re.fullmatch(re.escape(prefix) + pattern, name):
                number = match[1] if match.groups() else ""
                found.append(Name(row.ours.replace("{i}", number), name, row.layout))
    return found


def _prefix(dialect: Dialect, arrays: Arrays) -> str:
    """The longest prefix that all names have."""
    fitting = [p for p in dialect.prefixes if all(name.startswith(p) for name in arrays)]
    return max(fitting, key=len, default="")


def _block_count(names: Mapping[str, object]) -> int:
    numbers = [int(m[1]) for name in names if (m := re.match(r"block(\d{1,3})\.", name))]
    return min(max(numbers, default=-1) + 1, MAX_BLOCKS)


def _rows(dialect: Dialect, blocks: int) -> list[Name]:
    rows = []
    for row in dialect.names:
        for i in range(blocks) if "{i}" in row.ours else (0,):
            ours, theirs = (name.replace("{i}", str(i)) for name in (row.ours, row.theirs))
            rows.append(Name(ours, theirs, row.layout, row.optional))
    return rows


def _ours(row: Name, array: Array) -> Array:
    order = LAYOUTS[row.layout]
    if order is None:
        return array
    if array.ndim != len(order):
        raise ValueError(f"{row.theirs} must have {len(order)} axes, got shape {array.shape}")
    return array.transpose(order)


def _theirs(row: Name, array: Array) -> Array:
    order = LAYOUTS[row.layout]
    return array if order is None else array.transpose(np.argsort(order))


def _numbers(name: str, array: np.ndarray[Any, np.dtype[Any]]) -> Array:
    if array.dtype.kind != "f":
        raise ValueError(f"{name} must be floats, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    return np.ascontiguousarray(array, None if array.dtype == np.float64 else np.float32)


def _without_expand_bias(net: Network, params: Params, wanted: set[str]) -> Params:
    """Move the first bias of a block behind its 1 x 1 convolution, where a dialect lacks it."""
    out = dict(params)
    for layer in net.layers:
        first = f"{layer.name}.expand_bias"
        if isinstance(layer, LinearBlock) and first in params and first not in wanted:
            project = params[f"{layer.name}.project"][0, 0]
            second = f"{layer.name}.project_bias"
            out[second] = params[second] + params[first] @ project
    return out


def _difference(table: Dialect, state: Params, net: Network) -> str | None:
    """What first keeps a network from being the one that a dialect reads from its state."""
    own = net.param_shapes()
    for row in _rows(table, _block_count(own)):
        if row.ours not in own and not row.optional:
            theirs = table.prefixes[0] + row.theirs
            return f"it has no {row.ours}, for which the dialect has {theirs}"
    try:
        read = _read(table, state)[0]
    except (ValueError, KeyError) as error:
        return str(error)
    return first_difference(net, read)
