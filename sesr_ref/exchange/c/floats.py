"""The numbers of a file in float32: what is stored is what is meant."""

from __future__ import annotations

from sesr_ref import network as nw
from sesr_ref.exchange.c.plan import Plan
from sesr_ref.exchange.c.site import Site, Sums, Values, line_at


class Floats:
    """Every tensor, weight and constant is a float."""

    real = "float"
    integer = False
    title = "Everything is float32, pixels are 0 to 1."

    def type_of(self, name: str) -> str:
        """Of every tensor."""
        return "float"

    def params(self, layer: nw.Layer, values: dict[str, Values]) -> dict[str, Values]:
        """As they are."""
        return values

    def load(self, site: Site, index: int, value: str, channel: str) -> str:
        """The value itself."""
        return value

    def store(self, site: Site, number: str) -> str:
        """The number itself."""
        return number

    def move(self, site: Site, index: int, value: str, channel: str) -> str:
        """The value itself."""
        return value

    def zero(self, name: str) -> str:
        """Of every tensor."""
        return "0"

    def macros(self, plan: Plan) -> str:
        """None."""
        return ""

    def from_byte(self, plan: Plan) -> str:
        """A byte is a number of 255ths."""
        return """\
static float from_byte(int byte)
{
    return (float)byte / 255.0f;
}
"""

    def to_byte(self, plan: Plan) -> str:
        """Round to the nearest byte."""
        return """\
static int to_byte(float value)
{
    return value <= 0.0f ? 0 : value >= 1.0f ? 255 : (int)(value * 255.0f + 0.5f);
}
"""

    def sums(self, site: Site) -> Sums:
        """In float32, from the bias on; weights are ordered out, in, row, column."""
        weight = site.params["weight"].transpose(3, 2, 0, 1)
        name = site.sheet.array(site.owner, "weight", weight, "float")
        bias = ""
        if "bias" in site.params:
            bias = site.sheet.array(site.owner, "bias", site.params["bias"], "float")
        return Sums("float", name, "float", bias)

    def line_of_sums(self, site: Site, sums: Sums) -> str:
        """In the output itself."""
        return f"y + {line_at('c', site.out)}"

    def finish(self, site: Site) -> str:
        """Nothing is left to do."""
        return ""
