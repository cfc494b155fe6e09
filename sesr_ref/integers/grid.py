"""Grids: which real numbers the integers of a tensor stand for; and the grids of a network."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref.limits import is_int
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params

Integers = npt.NDArray[Any]
"""int64 while they are computed with."""
Reals = npt.NDArray[np.floating[Any]]

BITS = (4, 8, 16, 32)
MAX_ENTRIES = 100_000


@dataclass(frozen=True)
class Grid:
    """``real = scale * (integer - zero_point)``, integers of so many bits with a sign.

    Parameters
    ----------
    scale : float or tuple of float
        A float32 number, one for all or one for each index of `axis`.
    zero_point : int
        The integer that stands for 0.
    bits : {4, 8, 16, 32}
        Width; 32 are accumulators and biases.
    axis : int, optional
        Axis along which scales differ; the last one of a tensor or weight is 3.
    narrow : bool
        Whether the most negative integer is left out, as TFLite's weights do.
    """

    scale: float | tuple[float, ...]
    zero_point: int = 0
    bits: int = 8
    axis: int | None = None
    narrow: bool = False

    def __post_init__(self) -> None:
        several = isinstance(self.scale, tuple)
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        numbers = all(isinstance(s, (int, float)) and not isinstance(s, bool) for s in scales)
        if not scales or not numbers or not all(0 < s < math.inf for s in scales):
            raise ValueError(f"Grid: scale must be positive numbers, got {scales[:4]!r:.100}")
        if self.bits not in BITS:
            raise ValueError(f"Grid: bits must be one of {BITS}, got {self.bits!r:.40}")
        if (self.axis is not None) != several or not (self.axis is None or is_int(self.axis)):
            raise ValueError(f"Grid: several scales need an axis, got axis {self.axis!r:.40}")
        if not is_int(self.zero_point) or not self.low <= self.zero_point <= self.high:
            raise ValueError(
                f"Grid: zero_point must be {self.low} to {self.high}, got {self.zero_point!r:.40}"
            )
        rounded = tuple(float(np.float32(s)) for s in scales)
        object.__setattr__(self, "scale", rounded if several else rounded[0])

    @property
    def low(self) -> int:
        """Smallest integer."""
        return -(1 << (self.bits - 1)) + self.narrow

    @property
    def high(self) -> int:
        """Largest integer."""
        return (1 << (self.bits - 1)) - 1

    @property
    def scales(self) -> npt.NDArray[np.float32]:
        """The scale, or the scales, as float32: shape () or (channels,)."""
        return np.asarray(self.scale, np.float32)

    def to_integers(self, x: Reals) -> Integers:
        """Round real numbers to the nearest integers, half to even; those beyond the ends clip."""
        along = self._along(x.ndim)
        rounded = np.rint(np.asarray(x, np.float64) / along) + self.zero_point
        codes: Integers = np.clip(rounded, self.low, self.high).astype(np.int64)
        return codes

    def to_reals(self, q: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """The numbers that integers stand for."""
        return (q.astype(np.float64) - self.zero_point) * self._along(q.ndim)

    def clip(self, q: Integers) -> Integers:
        """Saturate."""
        clipped: Integers = np.clip(q, self.low, self.high)
        return clipped

    def dtype(self) -> np.dtype[Any]:
        """The narrowest integer of NumPy's that holds it."""
        return np.dtype({4: np.int8, 8: np.int8, 16: np.int16, 32: np.int32}[self.bits])

    def _along(self, ndim: int) -> npt.NDArray[np.float64]:
        scales = self.scales.astype(np.float64)
        if self.axis is None:
            return scales
        return scales.reshape([-1 if i == self.axis % ndim else 1 for i in range(ndim)])

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields that differ from their defaults."""
        stated: dict[str, Any] = {"scale": self.scale, "zero_point": self.zero_point}
        defaults = {"bits": 8, "axis": None, "narrow": False}
        return stated | {k: getattr(self, k) for k, v in defaults.items() if getattr(self, k) != v}

    @classmethod
    def from_dict(cls, entry: object, label: str = "a grid") -> Grid:
        """Undo `to_dict`; ValueError names `label`."""
        known = {"scale", "zero_point", "bits", "axis", "narrow"}
        if not isinstance(entry, dict) or not {"scale"} <= set(entry) <= known:
            raise ValueError(f"{label}: a grid is an object with the keys {sorted(known)}")
        fields = dict(entry)
        if isinstance(fields["scale"], list):
            fields["scale"] = tuple(fields["scale"])
        if not isinstance(fields.get("narrow", False), bool):
            raise ValueError(f"{label}: narrow must be true or false")
        try:
            return cls(**fields)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{label}: {error}") from None


def grid_of_range(low: float, high: float, bits: int = 8) -> Grid:
    """The grid that covers a range and has 0 exactly on it.

    Parameters
    ----------
    low, high : float
        Ends; 0 is taken in.
    bits : int
        8, or 16, whose zero point is 0 as TFLite wants it.

    Returns
    -------
    Grid
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if bits != 8:
        return symmetric_grid(np.asarray(max(-low, high)), bits)
    smallest, largest = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    scale = float(np.float32((high - low) / (largest - smallest))) or 1.0
    zero_point = int(np.clip(np.rint(smallest - low / scale), smallest, largest))
    return Grid(scale, zero_point, bits)


def symmetric_grid(
    largest: npt.NDArray[Any], bits: int = 8, axis: int | None = None, power_of_two: bool = False
) -> Grid:
    """The grid around 0 that reaches a magnitude, or one for each index of an axis.

    Parameters
    ----------
    largest : () or (channels,) array
        Magnitudes; those of 0 get a scale of 1.
    bits : int
        Width; the most negative integer is left out.
    axis : int, optional
        Of several magnitudes.
    power_of_two : bool
        Whether scales are rounded up to powers of two.

    Returns
    -------
    Grid
    """
    top = (1 << (bits - 1)) - 1
    scale = np.where(largest > 0, np.asarray(largest, np.float64) / top, 1.0).astype(np.float32)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    if power_of_two:
        scale = np.exp2(np.ceil(np.log2(scale))).astype(np.float32)
    scales: float | tuple[float, ...] = float(scale) if axis is None else tuple(scale.tolist())
    return Grid(scales, 0, bits, axis, narrow=True)


@dataclass(frozen=True)
class Quantization:
    """The grids of a collapsed network, by name.

    Parameters
    ----------
    tensors : mapping
        "input" and every layer's name.  A grid of 32 bits with a scale for each channel is an
        accumulator that is not rounded: what reads it has the convolution fused into it.
    params : mapping
        Every parameter.
    """

    tensors: Mapping[str, Grid]
    params: Mapping[str, Grid] = field(default_factory=dict)

    def with_tensors(self, **changes: Grid) -> Quantization:
        """The same with other grids of some tensors."""
        return replace(self, tensors={**self.tensors, **changes})

    def faked(self, net: Network, params: Params) -> tuple[Network, Params]:
        """Round every tensor and parameter of a collapsed network, for `loss_and_grads`."""
        from sesr_ref.integers.fake import faked

        return faked(net, params, self)

    def to_json(self, indent: int | None = None) -> str:
        """Write as JSON; `from_json` reads it back."""
        found = {
            key: {name: grid.to_dict() for name, grid in grids.items()}
            for key, grids in (("tensors", self.tensors), ("params", self.params))
        }
        return json.dumps(found, indent=indent)

    @classmethod
    def from_json(cls, text: str) -> Quantization:
        """Read what `to_json` wrote.

        Parameters
        ----------
        text : str
            JSON.

        Returns
        -------
        Quantization

        Raises
        ------
        ValueError
            Naming the tensor or parameter and what is wrong with its grid.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not a quantization: {error}") from None
        parts: list[Any] = [
            data.get(key) if isinstance(data, dict) else None for key in ("tensors", "params")
        ]
        if not all(isinstance(part, dict) and len(part) <= MAX_ENTRIES for part in parts):
            raise ValueError("a quantization is an object with the keys tensors and params")
        tensors, params = (
            {name: Grid.from_dict(entry, name) for name, entry in part.items()} for part in parts
        )
        return cls(tensors, params)
