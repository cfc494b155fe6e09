"""Schedules and programs as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sesr_kernels.explain.inference import ExplainedInference
from sesr_kernels.explain.training import ExplainedTraining, Planes
from sesr_kernels.machine.host import Host


def machine(host: Host) -> str:
    """What the kernels are compiled for."""
    thin = f", of {host.thin} where there are no more" if host.thin < host.outs else ""
    return (
        f"{host.name}: vectors of {host.lanes} floats; register blocks of {host.outs} outputs"
        f"{thin}, x {host.vectors} vectors, x {host.narrow} at a row's end"
    )


def inference(found: ExplainedInference) -> str:
    """A table of the operations, and how they go over an image."""
    head = (
        *("#", "operation", "makes", "reads", "layers", "taps"),
        *("reach", "ratio", "phase", "channels", "rows", "KB"),
    )
    rows = [
        (
            i,
            f"{op.operation}{''.join(f' + {word}' for word in op.then)}",
            op.makes,
            ", ".join(op.reads),
            ", ".join(op.layers),
            f"{op.taps} x {op.taps}" if op.taps else "",
            op.reach,
            op.ratio,
            op.phase,
            op.channels or "",
            op.rows or "",
            _kilobytes(op.bytes) if op.bytes else "",
        )
        for i, op in enumerate(found.operations)
    ]
    bands, strips = (
        ", ".join(f"{first} to {last - 1}" for first, last in cuts)
        for cuts in (found.bands, found.strips)
    )
    return "\n".join(
        (
            f"inference of {found.width} x {found.height}: {len(rows)} operations; "
            f"threads: {found.threads}; rows of the image a turn: {found.step}",
            *_table(head, rows),
            f"columns {strips}; with {found.halo} more on each inner side",
            f"rows {bands}; with {found.extra_rows:g} more on each inner side, on average",
            f"a thread: rings {_kilobytes(found.ring_bytes)} KB, "
            f"scratch {_kilobytes(found.scratch_bytes)} KB; "
            f"for all: weights {_kilobytes(found.weight_bytes)} KB",
        )
    )


def training(found: ExplainedTraining) -> str:
    """A table of the steps, and what a thread needs for them."""
    head = ("#", "direction", "operation", "layer", "reads", "writes", "sums")
    rows = [
        (
            i,
            step.direction,
            f"{step.operation}{''.join(f' + {word}' for word in step.then)}",
            step.layer,
            _places(step.reads, step.lazy),
            _places(step.writes),
            step.sums or "",
        )
        for i, step in enumerate(found.steps)
    ]
    lazy = ", ".join(found.lazy) or "none"
    return "\n".join(
        (
            f"training on {found.width} x {found.height}: {len(rows)} steps",
            *_table(head, rows),
            f"planes: {found.planes} of {_kilobytes(found.plane_bytes)} KB, rows {found.pitch} "
            f"floats apart",
            f"lazy activations (not stored: their readers apply them): {lazy}",
            f"partial sums: {found.sum_vectors} vectors of {found.lanes}",
            f"a thread: planes {_kilobytes(found.planes * found.plane_bytes)} KB, "
            f"scratch {_kilobytes(found.scratch_bytes)} KB, "
            f"sums {_kilobytes(4 * found.sum_vectors * found.lanes)} KB; "
            f"for all: weights {_kilobytes(found.weight_bytes)} KB",
        )
    )


def _places(planes: Sequence[Planes], lazy: str = "") -> str:
    """Each tensor with its planes; the first is read through an activation that is `lazy`."""
    words = []
    for i, found in enumerate(planes):
        last = f"-{found.first + found.count - 1}" if found.count > 1 else ""
        through = f" through {lazy}" if lazy and i == 0 else ""
        words.append(f"{found.name} [{found.first}{last}]{through}")
    return ", ".join(words)


def _kilobytes(size: int) -> str:
    return f"{size / 1024:.1f}" if size < 100 << 10 else f"{size / 1024:.0f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Columns side by side, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [head, *cells]) for i in range(len(head))]
    numeric = [all(not row[i] or _is_number(row[i]) for row in cells) for i in range(len(head))]
    lines = []
    for row in [list(head), *cells]:
        columns = zip(row, widths, numeric, strict=True)
        line = (cell.rjust(width) if right else cell.ljust(width) for cell, width, right in columns)
        lines.append("  ".join(line).rstrip())
    return lines


def _is_number(cell: str) -> bool:
    return cell.replace(".", "").isdecimal()
