"""The numbers of a file in integers: how values are loaded, stored, summed and rescaled."""

from __future__ import annotations

from typing import Any

import numpy as np

from sesr_ref import network as nw
from sesr_ref.exchange.c import text
from sesr_ref.exchange.c.bytes import mapping
from sesr_ref.exchange.c.plan import Plan
from sesr_ref.exchange.c.rounding import Writer, writer_of
from sesr_ref.exchange.c.site import Site, Sums, width
from sesr_ref.exchange.c.term import Term, per_channel, plus, scales
from sesr_ref.integers.arithmetic import Arithmetic, arithmetic_named
from sesr_ref.integers.grid import Grid, Quantization
from sesr_ref.limits import check

C_TYPES = {4: "int8_t", 8: "int8_t", 16: "int16_t", 32: "int32_t"}
MOST_SUMS = 1 << 62
"""No sum may reach it."""
LONG = 40
"""Characters of an expression that gets a line of its own."""
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
        self.largest: dict[str, int] = {}  # magnitudes of sums that are kept
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

    def term(self, site: Site, index: int, value: str, channel: str = "c") -> Term:
        """An input's value above its zero point."""
        grid = self.grid(site, index)
        most = self.largest.get(site.inputs[index].name, bound_of(grid))
        return Term(above(value, grid), most, grid, channel)

    def load(self, site: Site, index: int, value: str, channel: str) -> str:
        """In float64, as the reference does."""
        grid = self.grid(site, index)
        scale = per_channel(site, f"scale{index}", grid.scales, "double", channel)
        return f"((double){value}{plus(-grid.zero_point)}) * {scale}"

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
        term = self.term(site, index, value, channel)
        return self.writer(site).rescale(term, scales(term.grid), self.grid(site), f"from{index}")

    def clipped(self, site: Site, value: str) -> str:
        """A 64-bit value saturated to the output's grid."""
        grid = self.grid(site)
        return saturated(site, value, grid, ends(grid))

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
        note = (
            "/* A value v of the image stands for INPUT_SCALE * (v - INPUT_ZERO), in 0 to 1. */\n"
        )
        return note + "".join(lines)

    def from_byte(self, plan: Plan) -> str:
        """A byte is a number of 255ths: the nearest integer."""
        grid = self.q.tensors["input"]
        codes = grid.to_integers(np.arange(256) / 255)
        return mapping("from_byte", "int byte", "byte", C_TYPES[grid.bits], codes, 0)

    def to_byte(self, plan: Plan) -> str:
        """The nearest number of 255ths."""
        grid = self.q.tensors[plan.net.output]
        check(
            grid.axis is None and grid.bits <= 16,
            "bits of a program's output",
            "8 or 16",
            grid,
        )
        codes = np.arange(-(1 << (grid.bits - 1)), 1 << (grid.bits - 1))
        bytes_ = np.clip(np.rint(grid.to_reals(codes) * 255), 0, 255).astype(np.int64)
        argument = f"{C_TYPES[grid.bits]} value"
        return mapping("to_byte", argument, "value", "int", bytes_, int(codes[0]))

    def sums(self, site: Site) -> Sums:
        """Of integer products, in the narrowest type that no sum can leave."""
        weight = site.params["weight"] - self.param_grid(site, "weight").zero_point
        bias = site.params.get("bias", np.zeros(1, np.int64))
        c_type = "int32_t" if self._largest(site, weight, bias) < 1 << 31 else "int64_t"
        ordered = weight.transpose(3, 2, 0, 1)
        w_type = text.narrowest(ordered)
        name = site.sheet.array(site.owner, "weight", ordered, w_type)
        named = (
            site.sheet.array(site.owner, "bias", bias, "int32_t") if "bias" in site.params else ""
        )
        return Sums(c_type, name, w_type, named, self.grid(site, 0).zero_point)

    def _largest(self, site: Site, weight: Any, bias: Any) -> int:
        """Bound of every partial sum; ValueError where 64 bits might not hold it."""
        products = np.abs(weight).sum((0, 1, 2)) * bound_of(self.grid(site, 0))
        largest = int((products + np.abs(bias)).max())
        check(largest < MOST_SUMS, f"{site.layer.name}: the largest sum", "below 2**62", largest)
        site.sheet.notes[site.out.name] = f"; sums of {largest.bit_length() + 1} bits"
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
        made, largest = "sum[i]", self._largest(site, weight, bias)
        if target.bits == 32:
            self.largest[site.out.name] = largest
        if target.bits != 32:  # else what reads it has the convolution fused into it
            source = scales(grid) * scales(self.param_grid(site, "weight"))
            term = Term(made, largest, grid)
            source = np.broadcast_to(source, (site.out.channels,))
            made = self.writer(site).rescale(term, source, target, "scale")
        return (
            f"for (int i = 0; i < {width(site.out)}; i++)\n"
            f"{text.block(f'{site.y} = {self.clipped(site, made)};')}\n"
        )


def bound_of(grid: Grid) -> int:
    """The largest magnitude above the zero point of what C's type of a grid holds."""
    top = 1 << (8 * grid.dtype().itemsize - 1)
    return max(top + grid.zero_point, top - 1 - grid.zero_point)


def above(value: str, grid: Grid) -> str:
    """A value less its zero point."""
    return f"{'(int64_t)' if grid.bits == 32 else ''}{value}{plus(-grid.zero_point)}"


def ends(grid: Grid) -> str:
    """The smallest and the largest integer of a grid, as arguments."""
    return f"{text.whole(grid.low)}, {text.whole(grid.high)}"


def saturated(site: Site, value: str, grid: Grid, limits: str) -> str:
    """Clip a 64-bit value; a long one has a line of its own."""
    function = f"({C_TYPES[grid.bits]}){site.sheet.helper('clip', CLIP)}"
    if len(value) < LONG:
        return f"{function}({value}, {limits})"
    return f"{function}(\n    {value},\n    {limits})".replace("\n    ?", "\n        ?").replace(
        "\n    :", "\n        :"
    )
