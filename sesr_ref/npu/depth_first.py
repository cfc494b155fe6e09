"""Depth-first execution: rows flow through all layers at once; each layer keeps only a few.

Only the network's input, its output and the weights move.  If the whole width fits, nothing is
computed twice; otherwise the image is cut into strips whose columns overlap by the halo.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from sesr_ref import network as nw
from sesr_ref.collapse import collapsed
from sesr_ref.limits import image_size, whole_number
from sesr_ref.npu.estimator import estimate
from sesr_ref.npu.hardware import Npu, check_npu
from sesr_ref.npu.stripes import ple_code_bytes, round_up
from sesr_ref.receptive import WINDOWS, halo, spans

HOLDS_ROWS: nw.Rules[bool] = nw.Rules(
    {nw.Layer: True, nw.Pointwise: False, nw.Concat: False, nw.Slice: False}
)
"""Whether a layer's output needs its own rows, or is computed in place of its input."""


@dataclass(frozen=True)
class LineBuffer:
    """Rows of one tensor that are kept until the last reader has used them."""

    tensor: str
    rows: int
    sram_bytes: int


@dataclass(frozen=True)
class DepthFirst:
    """One network, image and NPU, executed depth first.

    Parameters
    ----------
    strips, strip_width : int
        Vertical strips of the image, and columns of the input that each covers without its halo.
    step_rows : int
        Rows of the input that enter at a time.
    buffers : tuple of LineBuffer
        One per tensor.
    sram_bytes : int
        Buffers, all weights and the PLE's code.
    dram_bytes : int
        For the whole image.
    latency_ms, frames_per_second : float
        For the whole image.
    """

    strips: int
    strip_width: int
    step_rows: int
    buffers: tuple[LineBuffer, ...]
    sram_bytes: int
    dram_bytes: int
    latency_ms: float

    @property
    def frames_per_second(self) -> float:
        """Images per second."""
        return 1e3 / self.latency_ms


def line_buffers(
    net: nw.Network, width: int, npu: Npu, step_rows: int = 8, element_bytes: int = 1
) -> tuple[LineBuffer, ...]:
    """Compute the rows that each tensor must keep for depth-first execution.

    A layer lags behind the input by as many rows as it reads ahead (`sesr_ref.receptive.spans`); a
    tensor's row is kept until its last reader, which lags further, no longer needs it.

    Parameters
    ----------
    net : Network
        Linear blocks are collapsed first.
    width : int
        Columns of the input that are processed at once.
    npu : Npu
        Determines how widths and channels are rounded up.
    step_rows : int
        Rows of the input that enter at a time.
    element_bytes : int
        Bytes of an activation.

    Returns
    -------
    tuple of LineBuffer
        The output has none, since it is written at once.
    """
    net = collapsed(net)
    height = 16
    shapes, seen = net.shapes(height, width), spans(net)
    ahead = {name: max(high for _, high in windows) for name, windows in seen.items()}
    holders, readers = _holders_and_readers(net)
    buffers = []
    for tensor in holders:
        scale = shapes[tensor][0] // height
        rows = max(
            (ahead[reader.name] - ahead[tensor] + step_rows) * scale
            + _behind(reader, max(shapes[reader.name][0] // shapes[tensor][0], 1))
            for reader in readers[tensor]
        )
        _, columns, channels = shapes[tensor]
        row_bytes = round_up(columns, npu.brick[1]) * round_up(channels, npu.sram_banks)
        buffers.append(LineBuffer(tensor, rows, rows * row_bytes * element_bytes))
    return tuple(buffers)


def _holders_and_readers(net: nw.Network) -> tuple[list[str], dict[str, list[nw.Layer]]]:
    """Tensors that need rows, and the layers that read them, through those computed in place."""
    sources: dict[str, tuple[str, ...]] = {"input": ("input",)}
    readers: dict[str, list[nw.Layer]] = {}
    for layer, inputs in net.steps():
        read = tuple(source for name in inputs for source in sources[name])
        holds = HOLDS_ROWS[type(layer)]
        sources[layer.name] = (layer.name,) if holds else read
        for name in read if holds else ():
            readers.setdefault(name, []).append(layer)
    return list(readers), readers


def _behind(layer: nw.Layer, phases: int) -> int:
    """Rows before its own that a layer reads of its input."""
    return max(-WINDOWS[type(layer)](layer, phase)[0] for phase in range(phases))


def depth_first(
    net: nw.Network,
    height: int,
    width: int,
    npu: Npu,
    bits: int = 8,
    step_rows: int = 8,
    strips: int | None = None,
) -> DepthFirst:
    """Estimate depth-first execution: only the network's input, output and weights move.

    Parameters
    ----------
    net : Network
        Linear blocks are collapsed first.
    height, width : int
        Pixels of the input.
    npu : Npu
        Its SRAM limits the strips, its `fitted_bytes_per_second` the memory.
    bits : {8, 16}
        Of activations and weights.
    step_rows : int
        Rows of the input that enter at a time; 8 are a brick of the Ethos-N.
    strips : int, optional
        Number of vertical strips; by default the fewest that fit.

    Returns
    -------
    DepthFirst

    Raises
    ------
    ValueError
        If not even the narrowest strip fits the SRAM, or a size is not an integer from 1 to 2**15.
    """
    height, width = image_size(height, width)
    step_rows = whole_number("step_rows", step_rows)
    strips = strips if strips is None else whole_number("strips", strips)
    check_npu(npu)
    passes = estimate(net, height, width, npu, "ideal", bits).passes
    weights, margin = sum(p.weights.total for p in passes), halo(net)

    def cut(count: int) -> Strips:
        columns = math.ceil(width / count)
        window = min(columns + margin * min(count - 1, 2), width)
        buffers = line_buffers(net, window, npu, step_rows, bits // 8)
        needed = sum(b.sram_bytes for b in buffers) + weights + ple_code_bytes(npu)
        return Strips(columns, window, buffers, needed)

    found = cut(strips) if strips is not None else _fewest_that_fit(net, width, npu, cut)
    count = math.ceil(width / found.columns)
    read = height * min(width + 2 * margin * (count - 1), count * found.window) * net.channels
    written = height * width * net.channels * net.upscale**2
    return DepthFirst(
        count,
        found.columns,
        step_rows,
        found.buffers,
        found.sram_bytes,
        (read + written) * (bits // 8) + weights,
        count * estimate(net, height, found.window, npu, "ideal", bits).latency_ms,
    )


class Strips(NamedTuple):
    """Columns of a strip without and with its halo, its buffers, and the SRAM it needs."""

    columns: int
    window: int
    buffers: tuple[LineBuffer, ...]
    sram_bytes: int


def _fewest_that_fit(net: nw.Network, width: int, npu: Npu, cut: Callable[[int], Strips]) -> Strips:
    for count in range(1, math.ceil(width / npu.brick[1]) + 1):
        found = cut(count)
        if found.sram_bytes <= npu.sram_bytes:
            return found
    raise ValueError(
        f"{npu.name}: depth-first execution of {net.name} needs {found.sram_bytes} bytes of SRAM "
        f"even for strips of {found.columns} columns, but there are {npu.sram_bytes}"
    )
