"""Print tables, JSON and progress; by rich on a terminal, otherwise as plain text."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sesr_ref.limits import in_one_line

REFRESH_SECONDS = 0.2


def print_json(data: Any) -> None:
    """Print `data` as JSON; floats that JSON cannot represent become null."""
    print(json.dumps(_finite(data), indent=2, default=str))


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if abs(data) != float("inf") and data == data else None
    if isinstance(data, dict):
        return {str(key): _finite(value) for key, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, (list, tuple)) else data


def notice(message: str) -> None:
    """Print one line, which is not part of the result, to standard error."""
    _clear_progress()
    print(message, file=sys.stderr)


def print_line(message: str) -> None:
    """Print one line of the result at once, even while progress is shown."""
    _clear_progress()
    print(message, flush=True)


def _clear_progress() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def one_line(error: BaseException) -> str:
    """Describe an error in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return f"out of memory: {error}" if str(error) else "out of memory"
    return in_one_line(error)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; the first column is aligned left, the others right.

    Parameters
    ----------
    title : str
        A line above the table; "" for none.
    columns : sequence of str
        Column heads.
    rows : sequence of sequences
        Cells; numbers are formatted already.
    """
    text = [[str(cell) for cell in row] for row in rows]
    if not _print_rich_table(title, columns, text):
        _print_plain_table(title, columns, text)


def _print_rich_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    if not sys.stdout.isatty():
        return False
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return False
    table = Table(title=title or None, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    Console(markup=False, highlight=False).print(table)
    return True


def _print_plain_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(cell) for cell in cells) for cells in zip(columns, *rows, strict=True)]
    if title:
        print(title)
    for row in (columns, ["-" * width for width in widths], *rows):
        first, *others = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        print("  ".join(cells).rstrip())


@contextmanager
def progress(total: int, label: str) -> Iterator[Callable[[int, str], None]]:
    """Show progress and the remaining time on standard error, if that is a terminal.

    Parameters
    ----------
    total : int
        Number of steps.
    label : str
        Name of the work.

    Yields
    ------
    function (done, note)
        Call it with the number of steps done and a short note.
    """
    start, shown = time.monotonic(), 0.0
    terminal = sys.stderr.isatty()

    def update(done: int, note: str = "") -> None:
        nonlocal shown
        now = time.monotonic()
        if terminal and (now - shown >= REFRESH_SECONDS or done >= total):
            shown = now
            left = duration((now - start) / done * (total - done)) if done else "?"
            bar = ("#" * (24 * done // max(total, 1))).ljust(24, ".")
            line = f"{label} [{bar}] {done}/{total}  {left} left  {note}"
            width = shutil.get_terminal_size().columns - 1  # a wrapped line would not be cleared
            print(f"\r\x1b[K{line[:width]}", end="", file=sys.stderr, flush=True)

    try:
        yield update
    finally:
        if shown:
            _clear_progress()


def duration(seconds: float) -> str:
    """Write 75 as 1:15 and 7322 as 2:02:02."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
