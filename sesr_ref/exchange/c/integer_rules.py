"""What each kind of layer is in integers: bit-equal to `run_int`'s rules."""

from __future__ import annotations

from typing import Any

import numpy as np

from sesr_ref import network as nw
from sesr_ref.exchange.c import text
from sesr_ref.exchange.c.integers import C_TYPES, Integers, saturated
from sesr_ref.exchange.c.rules import RULES as SHARED
from sesr_ref.exchange.c.rules import joined
from sesr_ref.exchange.c.site import Rule, Site, each_value, line_at
from sesr_ref.exchange.c.term import Slopes, plus
from sesr_ref.integers.grid import Grid
from sesr_ref.integers.rules import RULES as REFERENCE_RULES
from sesr_ref.integers.rules import Site as ReferenceSite
from sesr_ref.limits import check
from sesr_ref.ops.table import REFERENCE

TABLE_BITS = 16
"""Widest integers for which a function is a table."""


def _numbers(site: Site) -> Integers:
    """The integers of a file that holds some."""
    assert isinstance(site.numbers, Integers)
    return site.numbers


def _value(site: Site, index: int = 0, name: str = "x") -> str:
    tensor = site.inputs[index]
    channel = "0" if tensor.channels == 1 else "c"
    return f"{name}[{line_at(channel, tensor)} + i]".replace("[0 + i]", "[i]")


def _prelu(site: Site, slopes: Any, slope_grid: Grid) -> str:
    numbers = _numbers(site)
    grid = numbers.grid(site, 0)
    term = numbers.term(site, 0, _value(site))
    made = numbers.writer(site).prelu(
        term._replace(value="v"), Slopes(slopes, slope_grid), numbers.grid(site)
    )
    wide = "int64_t" if grid.bits == 32 else "int32_t"
    body = f"const {wide} v = {term.value};\n{site.y} = {numbers.clipped(site, made)};"
    return site.same_rows() + each_value(site, body)


def _leaky_relu(site: Site) -> str:
    slope = site.layer.slope
    if not slope:
        return _relu(site)
    return _prelu(site, np.array([int(np.sign(slope))], np.int64), Grid(abs(slope)))


def _between(site: Site, low: int, high: int) -> str:
    """Rescale, then clip to some integers."""
    numbers, target = _numbers(site), _numbers(site).grid(site)
    low, high = max(low, target.low), min(high, target.high)
    made = numbers.rescaled(site, 0, _value(site), "c")
    made = saturated(site, made, target, f"{text.whole(low)}, {text.whole(high)}")
    body = f"{site.y} = {made};"
    return site.same_rows() + each_value(site, body)


def _relu(site: Site) -> str:
    target = _numbers(site).grid(site)
    return _between(site, target.zero_point, target.high)


def _clip(site: Site) -> str:
    target = _numbers(site).grid(site)
    low, high = target.to_integers(np.array([site.layer.low, site.layer.high]))
    return _between(site, int(low), int(high))


def _add(site: Site) -> str:
    if len(site.inputs) != 2:
        return joined(site, "+")
    numbers = _numbers(site)
    terms = [numbers.term(site, i, _value(site, i, f"x{i}")) for i in range(2)]
    made = numbers.writer(site).add(terms, numbers.grid(site))
    body = f"{site.y} = {numbers.clipped(site, made)};"
    return site.same_rows() + each_value(site, body)


def _table(site: Site) -> str:
    """A function of one tensor: what the reference makes of each integer that it can hold."""
    numbers = _numbers(site)
    grid, target = numbers.grid(site, 0), numbers.grid(site)
    one = grid.axis is None and target.axis is None and grid.bits <= TABLE_BITS
    kind = type(site.layer).__name__
    check(
        one, f"{site.layer.name}: grid of a {kind} in C", "of one scale and at most 16 bits", grid
    )
    first = -(1 << (8 * grid.dtype().itemsize - 1))
    codes = np.arange(first, -first, dtype=np.int64).reshape(1, 1, -1, 1)
    reference = ReferenceSite([codes], [grid], {}, {}, target, numbers.arithmetic, REFERENCE)
    values = target.clip(REFERENCE_RULES[type(site.layer)](site.layer, reference))
    table = site.sheet.array(site.out.id, "table", values.ravel(), C_TYPES[target.bits])
    return site.same_rows() + each_value(site, f"{site.y} = {table}[{_value(site)}{plus(-first)}];")


RULES: nw.Rules[Rule] = nw.Rules(
    {
        **SHARED,
        nw.PReLU: lambda site: _prelu(
            site, site.params["slope"], _numbers(site).param_grid(site, "slope")
        ),
        nw.LeakyReLU: _leaky_relu,
        nw.ReLU: _relu,
        nw.Clip: _clip,
        nw.Add: _add,
        nw.Sigmoid: _table,
        nw.SiLU: _table,
        nw.Tanh: _table,
        nw.GELU: _table,
    }
)
"""What each kind is in integers; moves and sums are shared with the floats."""
