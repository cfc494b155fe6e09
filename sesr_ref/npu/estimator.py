"""`estimate`: DRAM bytes, time and energy of a network on an NPU, pass by pass.

| model | DRAM bytes | time of a pass |
|---|---|---|
| roofline | as Arm's estimator counts them | max(bytes / maker's bandwidth, cycles) |
| calibrated | the same | serial bytes, then max(parallel bytes, cycles, additions) |
| physical | every DRAM tensor written once, read once per reader | max(bytes, cycles) |
| ideal | the network's input and output, and weights | max(bytes, cycles) |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from sesr_ref.collapse import collapsed
from sesr_ref.limits import image_size, one_of
from sesr_ref.network import Conv, DepthToSpace, Network
from sesr_ref.npu.cascade import cascade
from sesr_ref.npu.hardware import Npu, check_npu
from sesr_ref.npu.lowering import Operation, lower
from sesr_ref.npu.placement import Placement
from sesr_ref.npu.timing import TIMING, mce_cycles, ple_patches
from sesr_ref.npu.traffic import Moved, Traffic, ideal_traffic, physical_traffic, traffic

MODELS = tuple(TIMING)
BITS = (8, 16)
PLAIN = {"physical": physical_traffic, "ideal": ideal_traffic}
"""Models that count bytes regardless of how Arm's compiler would place the tensors."""


@dataclass(frozen=True)
class PassEstimate:
    """One pass.

    Parameters
    ----------
    name, engine : str
        Its output tensor; "mce", "ple", "convert", or "composed" for a difference of estimates.
    layers : tuple of str
        Layers of the network that it computes.
    macs : int
        Useful multiply-accumulates.
    mce_cycles, ple_patches : int
        Cycles of the convolution engine, and patches of post-processing.
    winograd : bool
        Whether the convolution uses Winograd's algorithm.
    input, output, weights : Moved
        DRAM bytes, ``.parallel`` and ``.serial`` (Arm's "non-parallel").
    latency_ms : float
        Time.
    bound : {"dram", "compute", "ple"}
        The resource that takes longest.
    utilisation : float
        Useful multiply-accumulates over those that the engine could do in that time; above 1 only
        with Winograd.
    """

    name: str
    engine: str
    layers: tuple[str, ...]
    macs: int
    mce_cycles: int
    ple_patches: int
    winograd: bool
    input: Moved
    output: Moved
    weights: Moved
    latency_ms: float
    bound: str
    utilisation: float

    @property
    def dram_bytes(self) -> int:
        """Input, output and weights."""
        return self.input.total + self.output.total + self.weights.total


@dataclass(frozen=True)
class Estimate:
    """The passes of a network and their sums."""

    network: str
    height: int
    width: int
    npu: Npu
    model: str
    bits: int
    passes: tuple[PassEstimate, ...]

    @property
    def dram_bytes(self) -> int:
        """Bytes between the DRAM and the NPU for one image."""
        return sum(p.dram_bytes for p in self.passes)

    @property
    def mce_cycles(self) -> int:
        """Cycles of the convolution engine."""
        return sum(p.mce_cycles for p in self.passes)

    @property
    def macs(self) -> int:
        """Useful multiply-accumulates."""
        return sum(p.macs for p in self.passes)

    @property
    def latency_ms(self) -> float:
        """Time for one image; passes run one after another."""
        return sum(p.latency_ms for p in self.passes)

    @property
    def frames_per_second(self) -> float:
        """Images per second."""
        return 1e3 / self.latency_ms

    @property
    def joules(self) -> float | None:
        """Energy for one image; None unless the NPU states picojoules per MAC and DRAM byte."""
        npu = self.npu
        if npu.picojoules_per_mac is None or npu.picojoules_per_dram_byte is None:
            return None
        spent = npu.picojoules_per_mac * self.macs + npu.picojoules_per_dram_byte * self.dram_bytes
        return spent * 1e-12


def estimate(
    net: Network,
    height: int,
    width: int,
    npu: Npu,
    model: str = "roofline",
    bits: int = 8,
    compose_shuffles: bool = False,
) -> Estimate:
    """Estimate what a network costs on an NPU.

    Parameters
    ----------
    net : Network
        Linear blocks are collapsed first.
    height, width : int
        Pixels of the input, the low resolution.
    npu : Npu
        `ETHOS_N78_4TOPS` is the set-up that reproduces Table 3.
    model : {"roofline", "calibrated", "physical", "ideal"}
        How bytes and time are counted; see the module.
    bits : {8, 16}
        Of activations and weights.
    compose_shuffles : bool
        Add up a network that ends in several depth-to-space layers as in the paper's x4 rows: the
        body, plus for each such layer, at its own resolution, the network with a tail for one
        shuffle minus the same network without the shuffle.

    Returns
    -------
    Estimate
        ``.dram_bytes``, ``.latency_ms``, ``.frames_per_second`` and ``.passes``.

    Raises
    ------
    ValueError
        If a size is not an integer from 1 to 2**15, the model is unknown, a kind of layer has no
        rule, or the SRAM is too small for one stripe of a pass.

    Notes
    -----
    Bhardwaj et al. (MLSys 2022), Table 3; the paper does not state its configuration, which is
    inferred.
    """
    height, width = image_size(height, width)
    check_npu(npu)
    one_of("model", model, MODELS)
    one_of("bits", bits, BITS)
    net = collapsed(net)
    if compose_shuffles:
        passes = _composed(net, height, width, npu, model, bits)
    else:
        passes = estimate_operations(lower(net, height, width), npu, model, bits)
    return Estimate(net.name, height, width, npu, model, bits, passes)


def estimate_operations(
    operations: Sequence[Operation], npu: Npu, model: str = "roofline", bits: int = 8
) -> tuple[PassEstimate, ...]:
    """Estimate the passes that `lower` returned, or only the first ones: a network cut short.

    Parameters
    ----------
    operations : sequence of Operation
        In order of execution; the last one computes the output.
    npu : Npu
        The NPU that runs them.
    model : str
        As for `estimate`.
    bits : int
        As for `estimate`.

    Returns
    -------
    tuple of PassEstimate
    """
    element_bytes = bits // 8
    placement = Placement(operations, npu, element_bytes)
    if model in PLAIN:
        placement.check()
        rows = PLAIN[model](operations, npu, element_bytes)
    else:
        rows = traffic(placement.place(), npu, element_bytes)
        if npu.cascade_estimate:
            cascade(rows, npu)
    return tuple(_timed(row, npu, model, bits) for row in rows)


def _timed(row: Traffic, npu: Npu, model: str, bits: int) -> PassEstimate:
    operation = row.operation
    cycles = mce_cycles(operation, npu, row.winograd)
    cycles = round(cycles * npu.cycles_16bit) if bits == 16 else cycles
    clock, bandwidth = TIMING[model]
    times = clock(row, npu, cycles, getattr(npu, bandwidth))
    total = times.pop("total")
    useful = operation.macs / (total * npu.macs_per_second) if total else 0.0
    return PassEstimate(
        operation.name,
        operation.engine,
        operation.layers,
        operation.macs,
        cycles,
        ple_patches(operation, npu),
        row.winograd,
        row.input,
        row.output,
        row.weights,
        1e3 * total,
        max(times, key=lambda key: times[key]),
        useful,
    )


def _composed(
    net: Network, height: int, width: int, npu: Npu, model: str, bits: int
) -> tuple[PassEstimate, ...]:
    shuffles = _last_shuffles(net)
    if not shuffles:
        raise ValueError(f"{net.name} does not end in depth-to-space: nothing to compose")
    body = lower(net, height, width)[: -len(shuffles)]
    passes = estimate_operations(body, npu, model, bits)
    small, scale = _with_one_shuffle(net, shuffles), 1
    for shuffle in shuffles:
        whole = lower(small, height * scale, width * scale)
        with_it, without = (
            estimate_operations(part, npu, model, bits) for part in (whole, whole[:-1])
        )
        passes += (_difference(shuffle.name, with_it, without),)
        scale *= shuffle.block
    return passes


def _last_shuffles(net: Network) -> list[DepthToSpace]:
    shuffles: list[DepthToSpace] = []
    for layer in reversed(net.layers):
        if not isinstance(layer, DepthToSpace):
            break
        shuffles.insert(0, layer)
    return shuffles


def _with_one_shuffle(net: Network, shuffles: list[DepthToSpace]) -> Network:
    """Reduce the tail's channels to those of the first shuffle, and remove the other shuffles."""
    block = shuffles[0].block
    layers = list(net.layers[: len(net.layers) - len(shuffles) + 1])
    last = max(i for i, layer in enumerate(layers) if isinstance(layer, Conv))
    tail = layers[last]
    assert isinstance(tail, Conv)
    layers[last] = dataclasses.replace(tail, features=block**2 * net.channels)
    return Network(f"{net.name}, one shuffle", block, net.channels, tuple(layers))


def _difference(
    name: str, more: Sequence[PassEstimate], less: Sequence[PassEstimate]
) -> PassEstimate:
    """The difference that the last pass makes to an estimate, as a pass."""

    def total(key: str) -> float:
        return float(sum(getattr(p, key) for p in more) - sum(getattr(p, key) for p in less))

    last = more[-1]
    return PassEstimate(
        name,
        "composed",
        (name,),
        int(total("macs")),
        int(total("mce_cycles")),
        int(total("ple_patches")),
        False,
        Moved(),
        Moved(int(total("dram_bytes")), 0),
        Moved(),
        total("latency_ms"),
        last.bound,
        0.0,
    )
