"""Command line of sesr_ref: run a command, and report a user's mistake in one line.

Exit codes: 0 success, 1 a check failed, 2 a user's mistake, 130 interrupted (Ctrl-C), 141 the
reader of the output has gone (SIGPIPE), 143 terminated (SIGTERM).
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from sesr_ref.commands.console import notice, one_line
from sesr_ref.ops.table import KernelsLeftOut

# In the order of the help; each is a module of that name in sesr_ref.commands.
COMMANDS = (
    "upscale",
    "evaluate",
    "demo",
    "train",
    "info",
    "warmup",
    "cost",
    "collapse",
    "quantize",
    "export",
    "compare",
    "golden",
    "match",
    "prove",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sesr-ref``.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        The exit code.
    """
    _open_closed_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = "sesr-ref"
    try:
        parser = _parser(arguments)
        args, unknown = parser.parse_known_args(arguments)
        name = f"sesr-ref {args.command}" if args.command else name
        if unknown:
            parser.prog = name  # so that the error points to the command's help
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        if isinstance(sys.stdout, io.TextIOWrapper):  # file names may not be valid text
            sys.stdout.reconfigure(errors="backslashreplace")
        if args.command is None:
            parser.print_help()
            return 2
        args.words = arguments
        _end_politely()
        with warnings.catch_warnings():
            _show_warnings()
            code = int(args.run(args))
        sys.stdout.flush()  # raises here, not at exit, if the reader of the output has gone
        return code
    except KeyboardInterrupt:
        print("sesr-ref: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # 128 + SIGPIPE, as a shell reports it; 1 would mean a failed check
    except (ValueError, OSError, ImportError, MemoryError, FloatingPointError) as error:
        if os.environ.get("SESR_REF_TRACEBACK"):
            traceback.print_exc()
        print(f"{name}: {one_line(error)}", file=sys.stderr)
        return 2


class Parser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line, without the usage that argparse adds."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2 and one line on standard error."""
        text = " ".join(message.split())
        self.exit(2, f"{self.prog}: {text} (see {self.prog} --help)\n")


def _open_closed_streams() -> None:
    """Replace a closed standard output or error by one that discards what is written."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  (for good)


def _show_warnings() -> None:
    """Print each reason why kernels are not used in one line, as long as this lasts."""
    warnings.simplefilter("always", KernelsLeftOut)
    show, shown = warnings.showwarning, set[str]()

    def in_one_line(
        message: Warning | str, category: type[Warning], *where: Any, **more: Any
    ) -> None:
        if not issubclass(category, KernelsLeftOut):
            show(message, category, *where, **more)
        elif str(message) not in shown:  # once, however many images there are
            shown.add(str(message))
            notice(f"notice: {message}")

    warnings.showwarning = in_one_line


def _end_politely() -> None:
    """Make SIGTERM unwind the stack, so that half-written temporary files are removed."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = Parser(
        prog="sesr-ref",
        description="Enlarge images with SESR networks; train, verify and cost them.",
        epilog="Set SESR_REF_TRACEBACK=1 to see where an error came from.",
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    asked = next((a for a in arguments if not a.startswith("-")), None)
    for name in COMMANDS if asked not in COMMANDS else (asked,):
        module = _module(name)
        text = (module.__doc__ or "").strip().splitlines()[0]
        sub = commands.add_parser(name, help=text, description=module.__doc__)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"sesr_ref.commands.{name}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"sesr-ref {version('sesr-ref')}"
    except PackageNotFoundError:
        return "sesr-ref (not installed)"
