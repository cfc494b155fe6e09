"""A Dask cluster (extra ``cluster``): `distributed`'s scheduler, and its workers anywhere."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from sesr_ref.extras import need
from sesr_ref.workers.pool import Pool, Shown, Work, WorkerLost, attempt

CONNECT_SECONDS = 10
JOBS_A_THREAD = 4
"""Jobs that are at the cluster for each of its threads: none waits for the next one's way there."""
SOME_JOBS = 8
"""Jobs that wait for a cluster whose workers have not come yet."""
COUNT_SECONDS = 5.0
"""Interval at which its threads are counted: workers come and go."""


def _say_nothing(text: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Cluster:
    """A Dask cluster.

    Parameters
    ----------
    address : str
        Of its scheduler, such as ``"tcp://host:8786"``.
    tell : function
        Told in a line, once, if there is no worker yet.
    """

    address: str
    tell: Callable[[str], None] = _say_nothing

    def pool(self, work: Work, shown: Shown) -> Pool:
        """Make a pool for one kind of work; how far a job is, is not known."""
        return ClusterPool(work, self.address, self.tell)


class ClusterPool:
    """Sends jobs to a scheduler, which sends them again when their worker is lost."""

    def __init__(self, work: Work, address: str, tell: Callable[[str], None]) -> None:
        self.work, self.address, self.tell = work, address, tell
        self.numbers: dict[str, int] = {}
        self.threads, self.counted = 0, float("-inf")

    def __enter__(self) -> ClusterPool:
        distributed = need("distributed", "cluster", "clusters")
        _silence()
        _check_reachable(self.address)
        given = {"timeout": CONNECT_SECONDS, "set_as_default": False, "name": "sesr-ref"}
        self.client = distributed.Client(self.address, **given)
        self.finished = distributed.as_completed(loop=self.client.loop)
        self.killed = distributed.scheduler.KilledWorker
        if not self.client.nthreads():
            self.tell(f"{self.address} has no worker yet: waiting for one")
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close(timeout=2)  # what waits there is dropped, what is being done ends

    @property
    def width(self) -> int:
        if time.monotonic() - self.counted > COUNT_SECONDS and self.client.status == "running":
            self.threads, self.counted = sum(self.client.nthreads().values()), time.monotonic()
        return JOBS_A_THREAD * self.threads or SOME_JOBS

    def submit(self, number: int, job: Any) -> None:
        future = self.client.submit(attempt_there, self.work, job, version(), pure=False)
        self.numbers[future.key] = number
        self.finished.add(future)

    def ended(self) -> tuple[int, Any]:
        future = next(self.finished)
        number = self.numbers.pop(future.key)
        if future.status == "finished":
            return number, future.result()
        if future.status == "cancelled":
            raise ConnectionError(
                f"{self.address}: the connection to the scheduler is lost; jobs that are being "
                "done end by themselves"
            )
        error = future.exception()
        if isinstance(error, self.killed):
            return number, WorkerLost("given up: every worker that tried it was lost")
        for missing in (error, error.__cause__):  # the scheduler looks at jobs, too
            if isinstance(missing, ImportError):
                here = f"sesr-ref {version()}" if version() else "sesr-ref"
                raise ImportError(
                    f"the scheduler and workers of {self.address} need {here}, as here: {missing}"
                )
        raise error.with_traceback(future.traceback())


def attempt_there(work: Work, job: Any, needed: str) -> Any:
    """Do a job in a worker; ImportError if it has another version of this package."""
    if needed != version():
        raise ImportError(f"one has version {version() or 'unknown'}")
    return attempt(work, job)


def version() -> str:
    """Version of this package; "" where it is not installed."""
    try:
        return metadata.version("sesr-ref")
    except metadata.PackageNotFoundError:
        return ""


def _check_reachable(address: str) -> None:
    """Raise OSError or ValueError unless a scheduler answers: a client that fails says more."""
    core = need("distributed.core", "cluster", "clusters")
    security = need("distributed.security", "cluster", "clusters").Security()

    async def connect() -> None:
        tls = security.get_connection_args("client")
        connection = await core.connect(address, timeout=CONNECT_SECONDS, **tls)
        await connection.close()

    try:
        asyncio.run(connect())
    except OSError as error:
        why = getattr(error.__cause__, "strerror", None)  # of a name that is not known
        raise ConnectionError(
            f"no scheduler answers at {address}{f': {why}' if why else ''}"
        ) from None
    except Exception as error:  # an address of no known form, or a server of another kind
        raise ValueError(f"{address!r} is not the address of a scheduler: {error}") from None


def _silence() -> None:
    """Leave it to this program to say in one line what goes wrong."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
