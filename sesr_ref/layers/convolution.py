"""Convolutions: learned, transposed, and with fixed taps."""

from __future__ import annotations

from dataclasses import dataclass

from sesr_ref.layers.base import Layer, Shape
from sesr_ref.limits import (
    MAX_NUMBER,
    MAX_SIZE,
    check_bools,
    check_size,
    is_int,
    require,
)

MAX_TAPS = 31
"""Largest side of a stencil."""


@dataclass(frozen=True)
class Conv(Layer):
    """Convolution with stride 1 and zero 'same' padding; `groups` as in PyTorch.

    `kernel_size` is odd: k for k x k, or (rows, columns).
    """

    features: int
    kernel_size: int | tuple[int, int]
    groups: int = 1
    bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self, "features", "groups")
        sides = self.kernel_size if isinstance(self.kernel_size, tuple) else (self.kernel_size,) * 2
        sizes = len(sides) == 2 and all(is_int(k) and 1 <= k <= MAX_SIZE for k in sides)
        require(self, sizes, "kernel_size", f"1 to {MAX_SIZE}, or two such numbers")
        require(self, all(k % 2 for k in sides), "kernel_size", "odd")
        check_bools(self, "bias")
        require(self, self.features % self.groups == 0, "groups", f"a divisor of {self.features}")

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of the kernel."""
        return self.kernel_size if isinstance(self.kernel_size, tuple) else (self.kernel_size,) * 2

    @property
    def side(self) -> int:
        """The larger of both."""
        return max(self.sides)

    def out_shape(self, *inputs: Shape) -> Shape:
        ((height, width, channels),) = self._arity(inputs, 1)
        self._check_divides(channels, self.groups, f"{self.groups} groups")
        return height, width, self.features

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        weight = {"weight": (*self.sides, in_channels[0] // self.groups, self.features)}
        return weight | ({"bias": (self.features,)} if self.bias else {})


@dataclass(frozen=True)
class ConvTranspose(Layer):
    """k x k transposed convolution; the output is exactly `stride` times the input.

    ``y[s*q + a] = sum_i x[i] * weight[s*(q - i) + a + padding]`` along each axis; `padding` None
    stands for ``(k - stride + 1) // 2``, PyTorch's usual one (TensorFlow's SAME is
    ``(k - stride) // 2``; they differ where k - stride is odd).
    """

    features: int
    kernel_size: int
    stride: int
    bias: bool = False
    padding: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self, "features", "kernel_size", "stride")
        check_bools(self, "bias")
        require(self, self.kernel_size >= self.stride, "kernel_size", f">= stride {self.stride}")
        valid = self.padding is None or (is_int(self.padding) and 0 <= self.crop < self.kernel_size)
        require(self, valid, "padding", "None or an integer in [0, kernel_size)")

    @property
    def crop(self) -> int:
        """Rows and columns cut from the top and left of the full transposed convolution."""
        half = (self.kernel_size - self.stride + 1) // 2
        return half if self.padding is None else self.padding

    def out_shape(self, *inputs: Shape) -> Shape:
        ((height, width, _),) = self._arity(inputs, 1)
        return height * self.stride, width * self.stride, self.features

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        k = self.kernel_size
        weight = {"weight": (k, k, in_channels[0], self.features)}
        return weight | ({"bias": (self.features,)} if self.bias else {})


@dataclass(frozen=True)
class Stencil(Layer):
    """Each channel convolved with the same fixed taps, zero 'same' padding.

    With `factor` each channel has a learned factor, with `bias` a learned bias (ECBSR's edge
    filters).
    """

    taps: tuple[tuple[float, ...], ...]
    factor: bool = False
    bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bools(self, "factor", "bias")
        rows = self.taps if isinstance(self.taps, tuple) else ()
        odd = len(rows) % 2 == 1 and all(isinstance(r, tuple) and len(r) % 2 == 1 for r in rows)
        even = len({len(row) for row in rows if isinstance(row, tuple)}) == 1
        needed = f"an odd number of rows of equal odd length, at most {MAX_TAPS} x {MAX_TAPS}"
        sides = odd and even and max(len(rows), len(rows[0])) <= MAX_TAPS
        require(self, sides, "taps", needed)
        numbers = all(isinstance(t, float) or is_int(t) for row in rows for t in row)
        finite = numbers and all(abs(t) <= MAX_NUMBER for row in rows for t in row)
        require(self, finite, "taps", f"numbers within +-{MAX_NUMBER:g}")

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of the taps."""
        return len(self.taps), len(self.taps[0])

    @property
    def side(self) -> int:
        """The larger of both."""
        return max(self.sides)

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        keys = [key for key in ("factor", "bias") if getattr(self, key)]
        return dict.fromkeys(keys, (in_channels[0],))
