"""What a worker process does: one job after the other, until its connection is closed."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, TextIO

from sesr_ref.workers.pool import Show, Work, attempt

SHOWN_SECONDS = 0.1
"""Interval at which a worker says how far it is."""


@dataclass(frozen=True)
class Ready:
    """The worker has imported what it needs."""


@dataclass(frozen=True)
class Part:
    """A share of its job is done."""

    part: float


@dataclass(frozen=True)
class Ended:
    """Its job has ended, with a result or an expected error."""

    result: Any


@dataclass(frozen=True)
class Crashed:
    """It or its job raised what nobody expected; `trace` is where."""

    error: BaseException
    trace: str


def serve(connection: Connection) -> None:
    """Receive the work, then its jobs; send messages about them."""
    _take_signals()
    sys.stdout, sys.stderr = Lines(None), Lines(sys.stderr)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        try:
            work = connection.recv()
            connection.send(Ready())
            while True:
                connection.send(_done(work, connection.recv(), _shower(connection)))
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:  # a module is missing, or there is a fault in the program
            connection.send(Crashed(_sendable(error), traceback.format_exc()))


class Lines(io.TextIOBase):
    """A stream that passes on whole lines, and is no terminal: several workers share that."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream, self._begun = stream, ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        if lines and self._stream is not None:
            self._stream.write("\n".join([*lines, ""]))
            self._stream.flush()
        return len(text)


def _take_signals() -> None:
    """Leave Ctrl-C to the parent, which sends SIGTERM; that unwinds the stack."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if hasattr(signal, "pthread_sigmask"):  # blocked while the process was started
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _end_with_parent() -> None:
    """End as by SIGTERM when the parent is gone, however it ended."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _shower(connection: Connection) -> Show:
    last = 0.0

    def show(part: float) -> None:
        nonlocal last
        if time.monotonic() - last >= SHOWN_SECONDS:
            last = time.monotonic()
            connection.send(Part(part))

    return show


def _done(work: Work, job: Any, show: Show) -> Ended:
    result = attempt(work, job, show)
    return Ended(_sendable(result) if isinstance(result, Exception) else result)


def _sendable(error: Exception) -> Exception:
    """The error itself if the parent can make it from what is sent, else its text."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:  # its class may do anything
        return ValueError(f"{type(error).__name__}: {error}")
    return error
