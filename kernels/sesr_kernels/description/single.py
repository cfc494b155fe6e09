"""Networks of one layer: how a single operation runs on what is made for networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sesr_kernels.description.layers import Convolution, Shape


@dataclass(frozen=True)
class Conv:
    """A convolution."""

    features: int
    kernel_size: int
    groups: int
    bias: bool
    name: str = "layer"
    shares: str = ""


@dataclass(frozen=True)
class ConvTranspose:
    """A transposed convolution."""

    features: int
    kernel_size: int
    stride: int
    crop: int
    bias: bool
    name: str = "layer"
    shares: str = ""


@dataclass(frozen=True)
class Single:
    """A network of one layer."""

    layer: Convolution
    channels: int
    upscale: int = 1
    output: str = "layer"

    @property
    def layers(self) -> tuple[Convolution, ...]:
        """The layer."""
        return (self.layer,)

    def steps(self) -> Iterator[tuple[Convolution, tuple[str, ...]]]:
        """The layer and what it reads."""
        yield self.layer, ("input",)

    def shapes(self, height: int, width: int) -> dict[str, Shape]:
        """Shapes of both tensors."""
        s = self.upscale
        return {
            "input": (height, width, self.channels),
            "layer": (height * s, width * s, self.layer.features),
        }
