"""The schedule of a network as plain data: what each operation makes, and what it keeps."""

from __future__ import annotations

from dataclasses import dataclass

from sesr_kernels.blocks.convolve import AFTER, BEFORE, PRELU, RELU
from sesr_kernels.description.layers import Network
from sesr_kernels.inference.operands import NAMES, Ring
from sesr_kernels.inference.plan import InferencePlan
from sesr_kernels.inference.schedule import Convolving, Operation
from sesr_kernels.inference.winograd import SCRATCH

EPILOGUE = {BEFORE: "add", PRELU: "prelu", RELU: "relu", AFTER: "add"}
"""What follows a convolution's sums, in this order."""


@dataclass(frozen=True)
class ExplainedOperation:
    """One operation: `layers` of the network that it does, with `then` after its sums."""

    operation: str
    makes: str
    reads: tuple[str, ...]
    layers: tuple[str, ...]
    then: tuple[str, ...]
    taps: int
    """Of a convolution, along each side; else 0."""
    reach: int
    ratio: int
    phase: int
    channels: int
    rows: int
    """Rows that the target's ring keeps."""
    bytes: int
    """Of the target's ring, planes that only fill a block and padding included."""


@dataclass(frozen=True)
class ExplainedInference:
    """A schedule, and how it goes over images of one size."""

    height: int
    width: int
    threads: int
    step: int
    """Rows of the image that one turn takes."""
    halo: int
    """Columns that an output needs beyond its own on each side."""
    extra_rows: float
    """That a band makes on each side beyond its own, on average of all tensors."""
    bands: tuple[tuple[int, int], ...]
    strips: tuple[tuple[int, int], ...]
    ring_bytes: int
    scratch_bytes: int
    weight_bytes: int
    operations: tuple[ExplainedOperation, ...]


def explain(
    net: Network, height: int, width: int, threads: int, winograd: bool = True
) -> ExplainedInference:
    """Explain how a network runs.

    Parameters
    ----------
    net : Network
        Without linear blocks.
    height, width : int
        Of one image.
    threads : int
        That share it.
    winograd : bool
        As given to the plan.

    Returns
    -------
    ExplainedInference

    Raises
    ------
    Unsupported
        For a network that the kernels do not run as a whole.
    """
    plan = InferencePlan(net, winograd)
    jobs = plan.jobs(1, height, width, threads)
    widest = min(max(job.right - job.left for job in jobs) + 2 * plan.halo, width)
    rings = plan.rings(0, height, widest, height, widest)
    return ExplainedInference(
        height=height,
        width=width,
        threads=threads,
        step=plan.step,
        halo=plan.halo,
        extra_rows=round(plan.needs.rows, 2),
        bands=tuple(sorted({(job.top, job.bottom) for job in jobs})),
        strips=tuple(sorted({(job.left, job.right) for job in jobs})),
        ring_bytes=4 * rings.floats,
        scratch_bytes=4 * SCRATCH,
        weight_bytes=4 * plan.size,
        operations=tuple(
            _operation(plan, op, rings.table[op.target]) for op in plan.schedule.operations
        ),
    )


def _operation(plan: InferencePlan, op: Operation, ring: Ring) -> ExplainedOperation:
    tensors, work = plan.schedule.tensors, op.work
    epilogue = work.epilogue if isinstance(work, Convolving) else 0
    reads = [tensors[i].name for i in (op.source, op.second, op.third) if i >= 0]
    return ExplainedOperation(
        operation=NAMES[op.kind],
        makes=tensors[op.target].name,
        reads=tuple(reads),
        layers=op.layers,
        then=tuple(word for flag, word in EPILOGUE.items() if epilogue & flag),
        taps=work.kernel_size if isinstance(work, Convolving) else 0,
        reach=op.reach,
        ratio=op.ratio,
        phase=op.phase,
        channels=tensors[op.target].channels,
        rows=tensors[op.target].depth if ring.planes else 0,
        bytes=4 * int(ring.depth * ring.planes * ring.pitch),
    )
