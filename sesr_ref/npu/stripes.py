"""Cut passes into stripes that fit in SRAM, by the strategies of Arm's compiler in its order.

"whole" (nothing is cut), "rows" (full width), "blocks" (rows and columns) and "columns" (full
height).  Depth streaming (strategies 1 and 7 there) is omitted: no network here needs it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

from sesr_ref.network import Shape
from sesr_ref.npu.hardware import Npu
from sesr_ref.npu.lowering import Operation

BLOCKS = ((16, 16), (32, 8), (8, 32), (16, 8), (8, 16), (8, 8))
"""Widths and heights of the MCE's output blocks, which limit how finely a tensor is cut."""
WINOGRAD_BLOCK_AREA = 128
"""Largest block with Winograd: each output takes four of 512 accumulators (Arm's constant)."""
BUFFERED = 2
"""Output stripes held at a time: one being computed, one being written."""


@dataclass(frozen=True)
class Stripes:
    """Shapes of one input and one output stripe, how many are held, and the SRAM for them.

    Parameters
    ----------
    strategy : {"whole", "rows", "blocks", "columns"}
        How the tensors are cut.
    input, output : shape
        Shape of one stripe.
    slots : int
        Input stripes held at a time.
    reloads : int
        How many times the input is read again because the output's channels are cut.
    tile_bytes : int
        SRAM for input (unless it is resident already), output, weights and PLE code.
    """

    strategy: str
    input: Shape
    output: Shape
    slots: int
    reloads: int
    tile_bytes: int


def round_up(value: float, multiple: int) -> int:
    """Round up to a multiple."""
    return math.ceil(value / multiple) * multiple


def brick_bytes(shape: Shape, npu: Npu, element_bytes: int) -> int:
    """Bytes of an intermediate tensor in DRAM: height and width in whole bricks."""
    height, width, channels = shape
    return round_up(height, npu.brick[0]) * round_up(width, npu.brick[1]) * channels * element_bytes


def sram_bytes(shape: Shape, npu: Npu, element_bytes: int) -> int:
    """Bytes of a tensor in SRAM: in bricks, its channels spread over all banks."""
    channels = round_up(shape[2], npu.sram_banks)
    return brick_bytes((*shape[:2], channels), npu, element_bytes)


def ple_code_bytes(npu: Npu) -> int:
    """SRAM that the PLE's code takes in all banks together."""
    return npu.sram_banks * npu.ple_code_bytes


@dataclass(frozen=True)
class Fitter:
    """Cuts one convolution pass.

    Parameters
    ----------
    operation : Operation
        With one operand.
    npu : Npu
        The NPU that runs it.
    free_bytes : int
        SRAM that other resident tensors leave free.
    static : bool
        Whether the input is resident already, and so has as many slots as stripes.
    winograd : bool
        Whether it uses Winograd, which limits the blocks.
    element_bytes : int
        Bytes of an activation.
    """

    operation: Operation
    npu: Npu
    free_bytes: int
    static: bool
    winograd: bool
    element_bytes: int = 1

    @property
    def source(self) -> Shape:
        """Shape of the operand; a concatenation's parts lie side by side."""
        operands = self.operation.operands
        return *operands[0][:2], sum(shape[2] for shape in operands)

    def fit(self) -> Stripes | None:
        """Return the first strategy that fits, or None."""
        out = self.operation.output
        return next((found for found in self._attempts(out) if found), None)

    def fits(self) -> bool:
        """Whether any strategy fits, without searching for the largest stripes."""
        height, width, _ = self.operation.output
        finest = math.ceil(self.source[0] / self.npu.brick[0])
        found = self._try("whole", height, width, 3) or self._columns()
        found = found or self._try("rows", height // finest, width, 3)
        return bool(found or next(self._block_splits(), None))

    def _attempts(self, out: Shape) -> Iterator[Stripes | None]:
        height, width, channels = out
        yield self._try("whole", height, width, 3)
        finest = math.ceil(self.source[0] / self.npu.brick[0])
        worth = self.static or self._try("rows", height // finest, width, 3)
        for splits in range(2, finest + 1) if worth else ():
            for slots in (4, 3):
                yield self._try("rows", height // splits, width, slots)
        if self.static:
            return
        blocks = (
            self._try("blocks", height // down, width // across, 3)
            for across, down in self._block_splits()
        )
        if channels > 1:
            yield from blocks
        yield self._columns()
        yield from blocks  # Arm's compiler never cuts one channel so, and fails here

    def _block_splits(self) -> Iterator[tuple[int, int]]:
        for width, height in BLOCKS:
            if self.winograd and width * height > WINOGRAD_BLOCK_AREA:
                continue
            finest, out = math.ceil(self.source[0] / height), self.operation.output
            for across in range(2, math.ceil(self.source[1] / width) + 1):
                if self._try("blocks", out[0] // finest, out[1] // across, 3):
                    for down in range(2, finest + 1):
                        yield across, down

    def _along(self, wanted: int, axis: int) -> tuple[int, int, int]:
        """Sizes of the output and input stripe along one axis, and number of input stripes."""
        size, source = self.operation.output[axis], self.source[axis]
        brick, enlarge = self.npu.brick[axis], self.operation.enlarge
        output = min(round_up(wanted, brick * enlarge), round_up(size, brick))
        whole = output >= size
        stripe = round_up(min(source if whole else output // enlarge, source), brick)
        return output, stripe, math.ceil(source / stripe)

    def _try(self, strategy: str, height: int, width: int, buffers: int) -> Stripes | None:
        if height < 1 or width < 1:
            return None
        operation, banks = self.operation, self.npu.sram_banks
        out_height, in_height, down = self._along(height, 0)
        out_width, in_width, across = self._along(width, 1)
        in_stripe = (in_height, in_width, round_up(self.source[2], banks))
        out_stripe = (out_height, out_width, round_up(operation.output[2], banks))
        needed = min(min(operation.kernel_size, 3) + 1, buffers)
        slots = down * across if self.static else min(needed, down * across)
        if slots > self.npu.stripe_slots:
            return None
        held = min(
            BUFFERED,
            math.ceil(operation.output[0] / out_height)
            * math.ceil(operation.output[1] / out_width),
        )
        cut_both_ways = down > 1 and across > 1 and operation.kernel_size > 1
        borders = self.npu.stripe_slots * self.npu.brick[0] * in_width * in_stripe[2]
        tile = self._tile(in_stripe, slots, self.source)
        tile += borders * self.element_bytes if cut_both_ways and not self.static else 0
        tile += self._bounded(out_stripe, held, operation.output)
        return self._accept(Stripes(strategy, in_stripe, out_stripe, slots, 0, tile))

    def _columns(self) -> Stripes | None:
        """Full height, one brick wide; output channels in groups, the input read for each group."""
        operation, npu = self.operation, self.npu
        height, _, channels = operation.output
        out_width = npu.brick[1] * operation.enlarge
        depth = round_up(min(channels, npu.output_groups), npu.sram_banks)
        in_stripe = (
            round_up(self.source[0], npu.brick[0]),
            npu.brick[1],
            round_up(self.source[2], npu.sram_banks),
        )
        out_stripe = (round_up(height, npu.brick[0]), out_width, depth)
        across = math.ceil(self.source[1] / npu.brick[1])
        slots = min(3 if operation.kernel_size > 1 else 2, across)
        tile = self._bytes(in_stripe) * slots + self._bytes(out_stripe) * BUFFERED
        reloads = 0 if operation.depthwise else math.ceil(channels / depth) - 1
        return self._accept(Stripes("columns", in_stripe, out_stripe, slots, reloads, tile))

    def _bytes(self, shape: Shape) -> int:
        return math.prod(shape) * self.element_bytes

    def _bounded(self, stripe: Shape, count: int, whole: Shape) -> int:
        return min(self._bytes(stripe) * count, sram_bytes(whole, self.npu, self.element_bytes))

    def _tile(self, stripe: Shape, slots: int, whole: Shape) -> int:
        return 0 if self.static else self._bounded(stripe, slots, whole)

    def _accept(self, stripes: Stripes) -> Stripes | None:
        tile = stripes.tile_bytes + ple_code_bytes(self.npu)
        tile += self.operation.weight_bytes(self.npu, 8 * self.element_bytes)
        if tile > self.free_bytes:
            return None
        return dataclasses.replace(stripes, tile_bytes=tile)


def fit_addition(
    operation: Operation, npu: Npu, free_bytes: int, static: bool, element_bytes: int = 1
) -> Stripes | None:
    """Cut an addition into rows, or blocks if necessary; operands and result are double-buffered.

    Parameters
    ----------
    operation : Operation
        A pass of the PLE.
    npu : Npu
        The NPU that runs it.
    free_bytes : int
        SRAM that other resident tensors leave free.
    static : bool
        Whether its operands are resident already and so cannot be cut.
    element_bytes : int
        Bytes of an activation.

    Returns
    -------
    Stripes or None
        None if not even one brick of rows and columns fits.
    """
    height, width, channels = operation.output
    rows, columns = (
        (1, 1) if static else (math.ceil(height / npu.brick[0]), math.ceil(width / npu.brick[1]))
    )
    depth = round_up(channels, npu.sram_banks)
    operands = 0 if static else sum(round_up(s[2], npu.sram_banks) for s in operation.operands)
    for across in range(1, columns + 1):
        wide = round_up(max(width // across, 1), npu.brick[1])
        for down in range(1, rows + 1):
            high = round_up(max(height // down, 1), npu.brick[0])
            whole = high >= height and wide >= width
            count = 1 if whole else BUFFERED
            tile = count * high * wide * element_bytes * (depth + operands) + ple_code_bytes(npu)
            if tile <= free_bytes:
                strategy = "whole" if whole else "rows" if wide >= width else "blocks"
                shape = (high, wide, depth)
                return Stripes(strategy, shape, shape, count, 0, tile)
    return None
