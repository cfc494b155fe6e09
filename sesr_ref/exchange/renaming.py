"""Arrays under the names of a dialect's table: to a network's parameters, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from sesr_ref.exchange.dialects import Dialect, Name
from sesr_ref.exchange.differences import first_difference
from sesr_ref.exchange.layouts import LAYOUTS, Stored, ours, theirs, theirs_shape
from sesr_ref.exchange.modules import Arrays
from sesr_ref.exchange.values import parameter
from sesr_ref.network import LinearBlock, Network
from sesr_ref.ops.arrays import Array, Params

MAX_BLOCKS = 1000


def read_table(dialect: Dialect, arrays: Arrays, prefix: str = "") -> tuple[Network, Params]:
    """Take arrays for the parameters that a dialect describes.

    Parameters
    ----------
    dialect : Dialect
        The table.
    arrays : dict of arrays
        Under its names.
    prefix : str
        What stood ahead of all names, for errors.

    Returns
    -------
    net, params

    Raises
    ------
    ValueError
        With what is missing, left over or of another shape.
    """
    blocks = _block_count({row.ours: 0 for row in known_rows(dialect, arrays)})
    rows = _rows(dialect, blocks)
    _check_names(rows, arrays, prefix)
    found = {r.ours: (r, _ours(r, arrays[r.theirs])) for r in rows if r.theirs in arrays}
    net = dialect.network({name: array.shape for name, (_, array) in found.items()})
    params: Params = {}
    names = {row.ours: prefix + row.theirs for row in rows}
    for name, shape in net.param_shapes().items():
        if name in found:
            params[name] = _fitted(prefix, *found.pop(name), shape)
        elif name.endswith("_bias"):  # the dialect has none: it is zero
            params[name] = np.zeros(shape, np.float32)
        else:
            raise ValueError(f"expected {names.get(name, name)} (missing)")
    if found:
        raise ValueError(f"{net.name} has no use for {names[next(iter(found))]}")
    return net, params


def write_table(table: Dialect, net: Network, params: Params) -> Params:
    """Parameters under a dialect's names.

    Parameters
    ----------
    table : Dialect
        The table.
    net : Network
        Must be what it describes.
    params : dict of arrays
        Its parameters.

    Returns
    -------
    dict of arrays

    Raises
    ------
    ValueError
        With the first difference, if the network is another.
    """
    rows = [row for row in _rows(table, _block_count(params)) if row.ours in params]
    moved = _without_expand_bias(net, params, {row.ours for row in rows})
    state = {row.theirs: theirs(moved[row.ours], row.layout) for row in rows}
    if (found := _difference(table, state, net)) is not None:
        raise ValueError(f"{net.name} is not the network that {table.title} describes: {found}")
    return {table.prefix + name: array for name, array in state.items()}


def known_rows(dialect: Dialect, arrays: Arrays) -> list[Name]:
    """Rows of the dialect, blocks counted, that the arrays have.

    Parameters
    ----------
    dialect : Dialect
        The table.
    arrays : dict of arrays
        Under somebody's names.

    Returns
    -------
    list of Name
    """
    found = []
    for row in dialect.names:
        if "{i}" not in row.theirs:
            found += [row] if row.theirs in arrays else []
            continue
        pattern = re.compile(re.escape(row.theirs).replace(r"\{i\}", r"(\d{1,3})"))
        for match in filter(None, map(pattern.fullmatch, arrays)):
            found.append(Name(row.ours.replace("{i}", match[1]), match[0], row.layout))
    return found


def _fitted(prefix: str, row: Name, array: Stored, shape: tuple[int, ...]) -> Array:
    """The parameter in its shape; one slope for all channels becomes one for each."""
    if array.shape == (1,) and len(shape) == 1:
        array = np.broadcast_to(array, shape).copy()
    if array.shape != shape:
        expected, got = (theirs_shape(each, row.layout) for each in (shape, array.shape))
        raise ValueError(f"{prefix}{row.theirs} must have shape {expected}, got {got}")
    return parameter(prefix + row.theirs, array)


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
    return ", ".join(f"{name:.100}" for name in names[:most]) + more


def _block_count(names: Mapping[str, object]) -> int:
    numbers = [int(m[1]) for name in names if (m := re.match(r"block(\d{1,3})\.", name))]
    return min(max(numbers, default=-1) + 1, MAX_BLOCKS)


def _rows(dialect: Dialect, blocks: int) -> list[Name]:
    rows = []
    for row in dialect.names:
        for i in range(blocks) if "{i}" in row.ours else (0,):
            own, other = (name.replace("{i}", str(i)) for name in (row.ours, row.theirs))
            rows.append(Name(own, other, row.layout, row.optional))
    return rows


def _ours(row: Name, array: Stored) -> Stored:
    order = LAYOUTS[row.layout]
    if order is not None and array.ndim != len(order):
        raise ValueError(f"{row.theirs} must have {len(order)} axes, got shape {array.shape}")
    return ours(array, row.layout)


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
            name = table.prefix + row.theirs
            return f"it has no {row.ours}, for which the dialect has {name}"
    try:
        read = read_table(table, state)[0]
    except (ValueError, KeyError) as error:
        return str(error)
    return first_difference(net, read)
