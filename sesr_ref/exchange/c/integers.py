"""The numbers of a file in integers, bit-equal to `run_int`, and the kinds that differ for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from sesr_ref import network as nw
from sesr_ref.exchange.c import text
from sesr_ref.exchange.c.plan import Plan
from sesr_ref.exchange.c.rounding import Slopes, Term, Writer, per_channel, scales, writer_of
from sesr_ref.exchange.c.rules import RULES as SHARED
from sesr_ref.exchange.c.rules import joined
from sesr_ref.exchange.c.site import Rule, Site, Sums, each_value, line_at, width
from sesr_ref.integers.arithmetic import Arithmetic, arithmetic_named
from sesr_ref.integers.grid import Grid, Quantization
from sesr_ref.integers.run import RULES as INTEGER_RULES
from sesr_ref.integers.run import Site as IntegerSite
from sesr_ref.limits import check
from sesr_ref.ops.table import REFERENCE

C_TYPES = {4: "int8_t", 8: "int8_t", 16: "int16_t", 32: "int32_t"}
EXACT = 1 << 53
"""Sums below it are those of `run_int`, which adds in float64."""
TABLE_BITS = 16
"""Widest integers for which a function is a table."""

AS_INTEGERS: nw.Rules[bool] = nw.Rules(
    {nw.Layer: False, nw.Conv: True, nw.ConvTranspose: True, nw.PReLU: True}
)
"""Whether a kind computes with its parameters' integers, or with what they stand for."""

TO_CODE = """\
/* The integer of a grid that is nearest to a real number, half to even. */
static int32_t @_to_code(double real, double scale, int32_t zero, int32_t low, int32_t high)
{
    const double code = rint(real / scale) + zero;
    return code < low ? low : code > high ? high : (int32_t)code;
}
"""
CLIP = """\
static int32_t @_clip(int64_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : (int32_t)x;
}
"""


class Integers:
    """Every tensor holds the integers of its grid; sums are integers that cannot overflow."""

    real = "double"
    integer = True

    def __init__(self, q: Quantization, arithmetic: str) -> None:
        self.q = q
        self.arithmetic: Arithmetic = arithmetic_named(arithmetic)
        self.title = (
            f"Everything is integers, rounded as in the arithmetic {arithmetic!r} of sesr_ref: "
            "the\n * same bits as its `run_int`."
        )

    def type_of(self, name: str) -> str:
        """The narrowest type of C's for the grid."""
        return C_TYPES[self.q.tensors[name].bits]

    def grid(self, site: Site, index: int | None = None) -> Grid:
        """The grid of an input, or of the output."""
        tensor = site.out if index is None else site.inputs[index]
        return self.q.tensors[tensor.name]

    def param_grid(self, site: Site, key: str) -> Grid:
        """The grid of a parameter."""
        return self.q.params[f"{site.layer.shares or site.layer.name}.{key}"]

    def writer(self, site: Site) -> Writer:
        """Writes the arithmetic's roundings."""
        return writer_of(self.arithmetic, site)

    def params(self, layer: nw.Layer, values: dict[str, Any]) -> dict[str, Any]:
        """Integers where a kind computes with them, else what they stand for."""
        if AS_INTEGERS[type(layer)]:
            return {key: value.astype(np.int64) for key, value in values.items()}
        owner = layer.shares or layer.name
        return {key: self.q.params[f"{owner}.{key}"].to_reals(v) for key, v in values.items()}

    def term(self, site: Site, index: int, value: str) -> Term:
        """An input's value above its zero point."""
        grid = self.grid(site, index)
        return Term(f"{value}{minus(grid.zero_point)}", bound_of(grid), grid)

    def load(self, site: Site, index: int, value: str, channel: str) -> str:
        """In float64, as the reference does."""
        term = self.term(site, index, f"(double){value}")
        scale = per_channel(site, f"scale{index}", term.grid.scales, "double")
        if "[c]" in scale:
            scale = scale.replace("[c]", f"[{channel}]")
        return f"({term.value}) * {scale}"

    def store(self, site: Site, number: str) -> str:
        """Divided by the scale and rounded once."""
        grid = self.grid(site)
        function = site.sheet.helper("to_code", TO_CODE, "math.h")
        scale = per_channel(site, "scale", grid.scales, "double")
        c_type = C_TYPES[grid.bits]
        return f"({c_type}){function}({number}, {scale}, {grid.zero_point}, {ends(grid)})"

    def move(self, site: Site, index: int, value: str, channel: str) -> str:
        """As it is, or rescaled where the grids differ."""
        if self.grid(site, index) == self.grid(site):
            return value
        return self.clipped(site, self.rescaled(site, index, value, channel))

    def rescaled(self, site: Site, index: int, value: str, channel: str) -> str:
        """An input's value on the output's grid, not yet clipped."""
        if self.grid(site, index) == self.grid(site):
            return value
        term, key = self.term(site, index, value), f"from{index}"
        made = self.writer(site).rescale(term, scales(term.grid), self.grid(site), key)
        return made.replace("[c]", f"[{channel}]")

    def clipped(self, site: Site, value: str) -> str:
        """A 64-bit value saturated to the output's grid."""
        grid = self.grid(site)
        return f"({C_TYPES[grid.bits]}){site.sheet.helper('clip', CLIP)}({value}, {ends(grid)})"

    def zero(self, name: str) -> str:
        """The zero point."""
        return str(self.q.tensors[name].zero_point)

    def macros(self, plan: Plan) -> str:
        """Scales and zero points of input and output."""
        lines = []
        for what, name in (("INPUT", "input"), ("OUTPUT", plan.net.output)):
            grid = self.q.tensors[name]
            if grid.axis is None:
                lines.append(f"#define @@_{what}_SCALE {text.real(grid.scale)}\n")
                lines.append(f"#define @@_{what}_ZERO ({grid.zero_point})\n")
        note = "/* A value v of the image stands for INPUT_SCALE * (v - INPUT_ZERO), in 0 to 1. */\n"
        return note + "".join(lines)

    def from_byte(self, plan: Plan) -> str:
        """A byte is a number of 255ths: the nearest integer."""
        grid = self.q.tensors["input"]
        codes = grid.to_integers(np.arange(256) / 255)
        return _mapping("from_byte", "int byte", "byte", C_TYPES[grid.bits], codes, 0)

    def to_byte(self, plan: Plan) -> str:
        """The nearest number of 255ths."""
        grid = self.q.tensors[plan.net.output]
        check(grid.axis is None and grid.bits <= TABLE_BITS, "bits of a program's output", "8 or 16", grid)
        codes = np.arange(-(1 << (grid.bits - 1)), 1 << (grid.bits - 1))
        bytes_ = np.clip(np.rint(grid.to_reals(codes) * 255), 0, 255).astype(np.int64)
        argument = f"{C_TYPES[grid.bits]} value"
        return _mapping("to_byte", argument, "value", "int", bytes_, int(codes[0]))

    def sums(self, site: Site) -> Sums:
        """Of integer products, in the narrowest type that no sum can leave."""
        weight = site.params["weight"] - self.param_grid(site, "weight").zero_point
        bias = site.params.get("bias", np.zeros(1, np.int64))
        c_type = "int32_t" if self._largest(site, weight, bias) < 1 << 31 else "int64_t"
        ordered = weight.transpose(3, 2, 0, 1)
        w_type = text.narrowest(ordered)
        name = site.sheet.array(site.owner, "weight", ordered, w_type)
        named = site.sheet.array(site.owner, "bias", bias, "int32_t") if "bias" in site.params else ""
        return Sums(c_type, name, w_type, named, self.grid(site, 0).zero_point)

    def _largest(self, site: Site, weight: Any, bias: Any) -> int:
        """Bound of every partial sum; ValueError where float64 would not hold it."""
        products = np.abs(weight).sum((0, 1, 2)) * bound_of(self.grid(site, 0))
        largest = int((products + np.abs(bias)).max())
        check(largest < EXACT, f"{site.layer.name}: the largest sum", "below 2**53", largest)
        return largest

    def line_of_sums(self, site: Site, sums: Sums) -> str:
        """A working line."""
        return site.sheet.line(f"sums{sums.c_type[3:5]}", sums.c_type, site.out)

    def finish(self, site: Site) -> str:
        """Rescale the sums, add the zero point, saturate."""
        grid, target = self.grid(site, 0), self.grid(site)
        check(grid.axis is None, f"{site.layer.name}: grid of its input", "of one scale", grid)
        weight = site.params["weight"] - self.param_grid(site, "weight").zero_point
        bias = site.params.get("bias", np.zeros(1, np.int64))
        made = "sum[i]"
        if target.bits != 32:  # else what reads it has the convolution fused into it
            source = scales(grid) * scales(self.param_grid(site, "weight"))
            term = Term(made, self._largest(site, weight, bias), grid)
            source = np.broadcast_to(source, (site.out.channels,))
            made = self.writer(site).rescale(term, source, target, "scale")
        return (
            f"for (int i = 0; i < {width(site.out)}; i++)\n"
            f"    {site.y} = {self.clipped(site, made)};\n"
        )


def bound_of(grid: Grid) -> int:
    """The largest magnitude above the zero point of what C's type of a grid holds."""
    top = 1 << (8 * grid.dtype().itemsize - 1)
    return max(top + grid.zero_point, top - 1 - grid.zero_point)


def minus(zero: int) -> str:
    """Subtract a zero point."""
    return f" - {zero}" if zero > 0 else f" + {-zero}" if zero else ""


def ends(grid: Grid) -> str:
    """The smallest and the largest integer of a grid, as arguments."""
    return f"{text.whole(grid.low)}, {text.whole(grid.high)}"


def _mapping(name: str, argument: str, variable: str, c_type: str, values: Any, first: int) -> str:
    """A function from a range of integers: a difference where it is one, else a table."""
    offsets = np.unique(values - (np.arange(len(values)) + first))
    if len(offsets) == 1:
        return f"""\
static {c_type} {name}({argument})
{{
    return ({c_type})({variable}{minus(-int(offsets[0]))});
}}
"""
    return f"""\
static {c_type} {name}({argument})
{{
    static const {c_type} table[{len(values)}] = {{
{text.block(text.wrapped([text.whole(v) for v in values]))}
    }};
    return table[{variable}{minus(first)}];
}}
"""


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
    term = Term("v", bound_of(grid), grid)
    made = numbers.writer(site).prelu(term, Slopes(slopes, slope_grid), numbers.grid(site))
    wide = "int64_t" if grid.bits == 32 else "int32_t"
    body = (
        f"const {wide} v = {_value(site)}{minus(grid.zero_point)};\n"
        f"{site.y} = {numbers.clipped(site, made)};"
    )
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
    clip = site.sheet.helper("clip", CLIP)
    limits = f"{text.whole(low)}, {text.whole(high)}"
    body = f"{site.y} = ({C_TYPES[target.bits]}){clip}({made}, {limits});"
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
    check(one, f"{site.layer.name}: grid of a {kind} in C", "of one scale and at most 16 bits", grid)
    first = -(1 << (8 * grid.dtype().itemsize - 1))
    codes = np.arange(first, -first, dtype=np.int64).reshape(1, 1, -1, 1)
    reference = IntegerSite([codes], [grid], {}, {}, target, numbers.arithmetic, REFERENCE)
    values = target.clip(INTEGER_RULES[type(site.layer)](site.layer, reference))
    table = site.sheet.array(site.out.id, "table", values.ravel(), C_TYPES[target.bits])
    return site.same_rows() + each_value(site, f"{site.y} = {table}[{_value(site)}{minus(first)}];")


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
