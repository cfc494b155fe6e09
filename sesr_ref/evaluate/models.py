"""Networks as images need them: from real pixels to real pixels, whatever computes between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sesr_ref.collapse import collapse_params, collapsed
from sesr_ref.engine import run
from sesr_ref.integers import Quantization, run_int
from sesr_ref.integers.parameters import IntegerParams
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.table import REFERENCE, Ops
from sesr_ref.receptive import halo
from sesr_ref.tiles import Tile, exact_margin


class Model(Protocol):
    """A network that can be run."""

    @property
    def net(self) -> Network:
        """Its description, collapsed."""
        ...

    @property
    def ops(self) -> Ops:
        """The implementation that runs it."""
        ...

    @property
    def label(self) -> str:
        """Its name for tables."""
        ...

    def run(self, x: Array, tile: Tile | None = None) -> Array:
        """Enlarge (n, height, width, channels) images in [0, 1]."""
        ...

    def margin(self) -> tuple[int, int]:
        """As `exact_margin`: pixels around a tile that make it exact, and where it may start."""
        ...


@dataclass(frozen=True)
class RealModel:
    """A network in floating point."""

    net: Network
    params: Params
    ops: Ops = REFERENCE

    @property
    def label(self) -> str:
        """The network's name."""
        return self.net.name

    @classmethod
    def of(cls, net: Network, params: Params, ops: Ops = REFERENCE) -> RealModel:
        """Collapse a network once, for many runs."""
        return cls(collapsed(net), collapse_params(net, params), ops)

    def run(self, x: Array, tile: Tile | None = None) -> Array:
        """Enlarge images; their dtype is the result's."""
        return run(self.net, self.params, x, self.ops, tile)

    def margin(self) -> tuple[int, int]:
        """As the implementation needs."""
        return exact_margin(self.net, self.ops)


@dataclass(frozen=True)
class IntegerModel:
    """A network in integers: images are rounded to its codes, and the codes it makes are reals.

    Parameters
    ----------
    net, iparams, q
        As `sesr_ref.load_quantized` returns them.
    arithmetic : str
        A key of `sesr_ref.integers.ARITHMETICS`.
    ops : Ops
        The implementation of exact sums.
    """

    net: Network
    iparams: IntegerParams
    q: Quantization
    arithmetic: str = "tflite"
    ops: Ops = REFERENCE

    @property
    def label(self) -> str:
        """The network's name, and whose arithmetic it is."""
        return f"{self.net.name} ({self.arithmetic})"

    def run(self, x: Array, tile: Tile | None = None) -> Array:
        """Enlarge images; their dtype is the result's."""
        source, target = self.q.tensors["input"], self.q.tensors[self.net.output]
        codes = source.to_integers(x).astype(source.dtype())
        made = run_int(self.net, self.iparams, self.q, codes, self.arithmetic, self.ops, tile)
        reals: Array = target.to_reals(made).astype(x.dtype)
        return reals

    def margin(self) -> tuple[int, int]:
        """Integers are exact: the halo alone."""
        return halo(self.net), 1
