"""The command ``sesr-ref``: beside the package, since Ctrl-C may come while that is imported."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn


def main() -> int:
    """Import `sesr_ref.cli` and run it; Ctrl-C ends both with one line and 130."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # else Ctrl-C is ignored, or somebody else's
        signal.signal(signal.SIGINT, _stop)
    from sesr_ref import cli

    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, handler)
    return cli.main()


def _stop(*_: object) -> NoReturn:
    """End at once: NumPy's import turns an exception here into one of its own, of 50 lines."""
    if sys.stderr is not None:
        sys.stderr.write("sesr-ref: interrupted\n")
        sys.stderr.flush()
    os._exit(130)
