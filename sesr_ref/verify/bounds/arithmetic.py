"""Floating-point formats, rounding to them and the constants of rounding-error analysis."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sesr_ref.limits import check, is_int, one_of
from sesr_ref.ops.arrays import Array
from sesr_ref.verify.bounds.winograd import TILES


@dataclass(frozen=True)
class Format:
    """A binary format: `precision` significand bits (with the hidden one), range of its normals."""

    name: str
    precision: int
    min_exponent: int
    max_exponent: int

    @property
    def unit(self) -> float:
        """Unit roundoff u: rounding to nearest changes a normal number by at most ``u * |x|``."""
        return 2.0**-self.precision

    @property
    def underflow(self) -> float:
        """Absolute error of a result below the normal numbers.

        Half a subnormal step in float16.  In the wider formats, where it is far below any bound,
        the whole subnormal range, so that hardware that flushes subnormals to zero is accepted.
        """
        if self.min_exponent > -100:
            return 2.0 ** (self.min_exponent - self.precision)
        return 2.0**self.min_exponent

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return math.ldexp(2.0 - 2.0 ** (1 - self.precision), self.max_exponent)


FORMATS = {
    fmt.name: fmt
    for fmt in (
        Format("float16", 11, -14, 15),
        Format("bfloat16", 8, -126, 127),
        Format("float32", 24, -126, 127),
        Format("float64", 53, -1022, 1023),
    )
}


def format_named(name: str) -> Format:
    """Return the format called `name`; ValueError, listing those known, if there is none."""
    one_of("the dtype", name, FORMATS)
    return FORMATS[name]


def spacing(x: Array, fmt: Format) -> Array:
    """Distance between neighbouring numbers of `fmt` around `x`: one unit in the last place.

    Parameters
    ----------
    x : float array
        Finite.
    fmt : Format
        The format.

    Returns
    -------
    float64 array
        Powers of two.
    """
    _, exponent = np.frexp(np.asarray(x, np.float64))
    step: Array = np.ldexp(1.0, np.maximum(exponent, fmt.min_exponent + 1) - fmt.precision)
    return step


def rounded(x: Array, fmt: Format) -> Array:
    """Round values once to `fmt`, to nearest with ties to even, and return them as float64.

    Parameters
    ----------
    x : float array
        Finite.
    fmt : Format
        The format; for float64, `x` is returned unchanged.

    Returns
    -------
    float64 array
        Infinite for values beyond the format's largest number.
    """
    x = np.asarray(x, np.float64)
    if fmt.name == "float64":
        return x
    step = spacing(x, fmt)
    y: Array = np.asarray(np.rint(x / step) * step)
    np.copyto(y, np.copysign(np.inf, y), where=np.abs(y) > fmt.largest)
    return y


def gamma(count: int, unit: float) -> float:
    """``n u / (1 - n u)``: relative error of n roundings (Higham, lemma 3.1), or infinity."""
    total = count * unit
    return total / (1 - total) if total < 1 else math.inf


def _is_tile(value: object) -> bool:
    sizes = value if isinstance(value, (tuple, list)) else ()
    return len(sizes) == 2 and all(is_int(size) and size in TILES for size in sizes)


@dataclass(frozen=True)
class Arithmetic:
    """How an implementation computes: sums in `accumulate`, every named tensor stored in `dtype`.

    `winograd` (rows, columns) are the output sizes of the tiles F(rows x columns, 3 x 3) that the
    3 x 3 convolutions may use; 1 means no transform along that axis.  `fused`: a layer may have
    read its inputs before they were rounded to the tensors that the implementation shows.
    """

    dtype: str = "float32"
    accumulate: str = "float32"
    winograd: tuple[int, int] | None = None
    fused: bool = True

    def __post_init__(self) -> None:
        precise = self.storage.precision <= self.sums.precision
        needed = f"at least as precise as {self.dtype} tensors"
        check(precise, "sums (accumulate)", needed, self.accumulate)
        valid = self.winograd is None or _is_tile(self.winograd)
        needed = f"a tile's rows and columns, two of {TILES}"
        check(valid, "winograd", needed, self.winograd)

    @property
    def storage(self) -> Format:
        """Format of tensors and parameters."""
        return format_named(self.dtype)

    @property
    def sums(self) -> Format:
        """Format of products and sums."""
        return format_named(self.accumulate)
