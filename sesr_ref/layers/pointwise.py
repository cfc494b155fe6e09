"""Functions that are applied to each value separately."""

from __future__ import annotations

from dataclasses import dataclass

from sesr_ref.layers.base import Pointwise
from sesr_ref.limits import check_finite, is_int, require


@dataclass(frozen=True)
class PReLU(Pointwise):
    """``x if x > 0 else slope * x``, one learned slope per channel."""

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        return {"slope": (in_channels[0],)}


@dataclass(frozen=True)
class ReLU(Pointwise):
    """``max(x, 0)``."""


@dataclass(frozen=True)
class LeakyReLU(Pointwise):
    """``x if x > 0 else slope * x`` with one fixed slope."""

    slope: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_finite(self, "slope")


@dataclass(frozen=True)
class Sigmoid(Pointwise):
    """``1 / (1 + exp(-x))``."""


@dataclass(frozen=True)
class SiLU(Pointwise):
    """``x * sigmoid(x)``."""


@dataclass(frozen=True)
class Tanh(Pointwise):
    """``tanh(x)``."""


@dataclass(frozen=True)
class GELU(Pointwise):
    """``x * Phi(x)``, Phi the normal distribution function; "tanh" is its usual approximation."""

    approximate: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, self.approximate in ("none", "tanh"), "approximate", "'none' or 'tanh'")


@dataclass(frozen=True)
class Shift(Pointwise):
    """``x + offset``."""

    offset: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_finite(self, "offset")


@dataclass(frozen=True)
class Scale(Pointwise):
    """``x * factor``."""

    factor: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_finite(self, "factor")


@dataclass(frozen=True)
class Clip(Pointwise):
    """``min(max(x, low), high)``; the gradient is 0 outside [low, high]."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_finite(self, "low", "high")
        require(self, self.low < self.high, "high", f"above low {self.low}")


@dataclass(frozen=True)
class FakeQuantize(Pointwise):
    """Round to a grid and stay real: ``(clip(round(x / s) + z) - z) * s``, halves to even.

    ``s = exp(log_scale)`` is learned, one for the tensor; `zero_point` is z; integers have `bits`
    bits and a sign.  The gradient passes straight through, 0 for values beyond the ends.
    """

    zero_point: int
    bits: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, self.bits in (8, 16), "bits", "8 or 16")
        within = is_int(self.zero_point) and self.low <= self.zero_point <= self.high
        require(self, within, "zero_point", f"an integer from {self.low} to {self.high}")

    @property
    def low(self) -> int:
        """Smallest integer."""
        return -(1 << (self.bits - 1))

    @property
    def high(self) -> int:
        """Largest integer."""
        return (1 << (self.bits - 1)) - 1

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        return {"log_scale": (1,)}


@dataclass(frozen=True)
class Gain(Pointwise):
    """``x * gain``, one learned factor per channel."""

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        return {"gain": (in_channels[0],)}


@dataclass(frozen=True)
class BatchNorm(Pointwise):
    """``(x - mean) / sqrt(var + eps) * scale + offset`` with stored statistics, as at inference.

    `scale` and `offset` are learned; `mean` and `var` are stored and have no gradient.
    """

    eps: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_finite(self, "eps")
        require(self, self.eps > 0, "eps", "above 0")

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        return dict.fromkeys(("scale", "offset", "mean", "var"), (in_channels[0],))
