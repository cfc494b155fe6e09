"""The effect of changes to the hardware: more SRAM, more bandwidth, more multipliers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sesr_ref.limits import image_size, one_of
from sesr_ref.network import Network
from sesr_ref.npu.depth_first import depth_first
from sesr_ref.npu.estimator import estimate
from sesr_ref.npu.hardware import Npu, check_npu
from sesr_ref.npu.tiles import plan_tiles


def _sram(npu: Npu, factor: float) -> Npu:
    return dataclasses.replace(npu, sram_bytes=round(npu.sram_bytes * factor))


def _bandwidth(npu: Npu, factor: float) -> Npu:
    return dataclasses.replace(
        npu,
        dram_bytes_per_second=npu.dram_bytes_per_second * factor,
        fitted_bytes_per_second=npu.fitted_bytes_per_second * factor,
    )


def _multipliers(npu: Npu, factor: float) -> Npu:
    return dataclasses.replace(npu, units=max(round(npu.units * factor), 1))


SCALED: dict[str, tuple[Callable[[Npu, float], Npu], Callable[[Npu], float]]] = {
    "sram": (_sram, lambda npu: npu.sram_bytes),
    "bandwidth": (_bandwidth, lambda npu: npu.fitted_bytes_per_second),
    "multipliers": (_multipliers, lambda npu: npu.macs_per_cycle),
}
"""Resource: the NPU with it scaled by a factor (as exactly as possible), and its amount."""


def _whole(net: Network, height: int, width: int, npu: Npu) -> float:
    return estimate(net, height, width, npu, "physical").frames_per_second


def _tiled(net: Network, height: int, width: int, npu: Npu) -> float:
    return plan_tiles(net, height, width, npu).frames_per_second


def _depth_first(net: Network, height: int, width: int, npu: Npu) -> float:
    return depth_first(net, height, width, npu).frames_per_second


EXECUTIONS: dict[str, Callable[[Network, int, int, Npu], float]] = {
    "layer by layer": _whole,
    "best tiles": _tiled,
    "depth-first": _depth_first,
}
"""Way of execution: images per second by the physical model (ideal for depth-first)."""


@dataclass(frozen=True)
class SweepPoint:
    """Images per second with `factor` times as much of a resource; None if nothing fits."""

    factor: float
    frames_per_second: float | None


def sweep(
    net: Network,
    height: int,
    width: int,
    npu: Npu,
    resource: str,
    factors: Sequence[float],
    execution: str = "layer by layer",
) -> list[SweepPoint]:
    """Frame rate against the amount of one resource.

    Parameters
    ----------
    net : Network
        Linear blocks are collapsed first.
    height, width : int
        Pixels of the input.
    npu : Npu
        The NPU to scale.
    resource : {"sram", "bandwidth", "multipliers"}
        The resource to scale.
    factors : sequence of float
        Factors on its amount.
    execution : {"layer by layer", "best tiles", "depth-first"}
        How the network runs.

    Returns
    -------
    list of SweepPoint

    Raises
    ------
    ValueError
        For an unknown resource or execution, or a size that is not an integer from 1 to 2**15.
    """
    height, width = image_size(height, width)
    check_npu(npu)
    one_of("resource", resource, SCALED)
    one_of("execution", execution, EXECUTIONS)
    scale, amount = SCALED[resource]
    points = []
    for factor in factors:
        scaled = scale(npu, factor)
        try:
            rate: float | None = EXECUTIONS[execution](net, height, width, scaled)
        except ValueError:  # no stripe fits
            rate = None
        points.append(SweepPoint(amount(scaled) / amount(npu), rate))
    return points


def factor_to_reach(points: Sequence[SweepPoint], frames_per_second: float) -> float | None:
    """Return the smallest factor of a sweep from which on a frame rate is reached, or None."""
    reached = None
    for point in sorted(points, key=lambda p: -p.factor):
        if point.frames_per_second is None or point.frames_per_second < frames_per_second:
            break
        reached = point.factor
    return reached
