"""Cycles of the two engines, and the time of a pass by each model."""

from __future__ import annotations

import math
from collections.abc import Callable

from sesr_ref.npu.hardware import Npu
from sesr_ref.npu.lowering import Operation
from sesr_ref.npu.stripes import round_up
from sesr_ref.npu.traffic import Traffic

Times = dict[str, float]
"""Seconds of a pass by resource: "dram", "compute" (MCE) and "ple", and "total"."""


def mce_cycles(operation: Operation, npu: Npu, winograd: bool) -> int:
    """Cycles of the convolution engine; every group of channels counts as full.

    Parameters
    ----------
    operation : Operation
        A pass; the result is 0 unless its engine is "mce".
    npu : Npu
        The NPU that runs it.
    winograd : bool
        Whether to use Winograd: 16 products for 2 x 2 outputs of each 3 x 3 piece of the kernel.

    Returns
    -------
    int
    """
    if operation.engine != "mce":
        return 0
    height, width, outputs = operation.output
    inputs = sum(shape[2] for shape in operation.operands)
    rows, columns = round_up(height, npu.cycle_rows), round_up(width, npu.cycle_columns)
    if operation.depthwise:
        channels = round_up(outputs, npu.input_groups)
        products = operation.kernel_size**2 * rows * columns * channels
        return products // (npu.input_groups * npu.units)
    inputs = round_up(inputs / operation.groups, npu.input_groups) // npu.input_groups
    outputs = round_up(outputs / operation.groups, npu.output_groups) // npu.output_groups
    if winograd:
        pieces = math.ceil(operation.kernel_size / 3) ** 2
        products = 16 * pieces * math.ceil(height / 2) * math.ceil(width / 2)
    else:
        products = operation.kernel_size**2 * rows * columns
    return products * inputs * outputs * operation.groups // npu.units


def ple_patches(operation: Operation, npu: Npu) -> int:
    """Patches that the PLE processes; an addition of n operands processes them n - 1 times."""
    if operation.engine == "convert":
        return 0
    patches = math.prod(
        math.ceil(size / unit) for size, unit in zip(operation.output, npu.ple_patch, strict=True)
    )
    return patches * max(len(operation.operands) - 1, 1) if operation.engine == "ple" else patches


def ple_cycles(operation: Operation, npu: Npu) -> float:
    """Cycles of an addition; post-processing of a convolution runs in parallel with it."""
    if operation.engine != "ple":
        return 0.0
    return npu.ple_cycles_per_add * ple_patches(operation, npu)


def roofline(row: Traffic, npu: Npu, cycles: float, bytes_per_second: float) -> Times:
    """Time of the longer of memory and convolution, which run in parallel."""
    dram, compute = row.dram_bytes / bytes_per_second, cycles / npu.clock_hz
    return {"dram": dram, "compute": compute, "total": max(dram, compute)}


def calibrated(row: Traffic, npu: Npu, cycles: float, bytes_per_second: float) -> Times:
    """Time of the serial bytes plus the longest of parallel bytes, convolution and addition."""
    moved = (row.input, row.output, row.weights)
    serial = sum(m.serial for m in moved) / bytes_per_second
    parallel = sum(m.parallel for m in moved) / bytes_per_second
    compute = cycles / npu.clock_hz
    ple = ple_cycles(row.operation, npu) / npu.clock_hz
    total = serial + max(parallel, compute, ple)
    return {"dram": serial + parallel, "compute": compute, "ple": ple, "total": total}


TIMING: dict[str, tuple[Callable[[Traffic, Npu, float, float], Times], str]] = {
    "roofline": (roofline, "dram_bytes_per_second"),
    "calibrated": (calibrated, "fitted_bytes_per_second"),
    "physical": (roofline, "fitted_bytes_per_second"),
    "ideal": (roofline, "fitted_bytes_per_second"),
}
"""Model: the function that times a pass, and the name of the bandwidth that it uses."""
