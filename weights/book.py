"""Where the stages of the plan stand: in their runs' folders, or among the shipped weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plan import Stage
from recipe import pixels_of, public_command, recipe_of
from sesr_ref.files import atomic_write
from sesr_ref.shipped import shipped
from sesr_ref.train.checkpoint import described

WEIGHTS, CHECKPOINT, CHAIN, VERDICT = "weights.npz", "checkpoint.npz", "chain.json", "verdict.json"
RUN_FILES = (CHECKPOINT, "log.jsonl", "run.json", "best.npz", WEIGHTS)

Chain = list[dict[str, Any]]
"""What weights have learned from: a record for each stage, the first one first."""


@dataclass(frozen=True)
class Book:
    """The plan, and the folder of its runs.

    Parameters
    ----------
    stages : sequence of Stage
        The plan.
    runs : Path
        Holds a folder for each stage that has begun.
    anew : bool
        Whether shipped weights count for nothing: everything is trained again.
    """

    stages: Sequence[Stage]
    runs: Path
    anew: bool = False

    def folder(self, stage: Stage) -> Path:
        """Where a stage's run lies, or will."""
        return self.runs / stage.folder

    def lock(self, stage: Stage) -> Path:
        """File whose lock belongs to the process that works on a stage."""
        return self.runs / f".{stage.folder}.lock"

    def named(self, key: str) -> Stage | None:
        """The stage called NETWORK/STAGE, if the plan has it."""
        return next((stage for stage in self.stages if stage.key == key), None)

    def done(self, stage: Stage) -> bool:
        """Whether a stage is trained: its run, a later one's, or the shipped weights say so."""
        later = self.stages[self.stages.index(stage) :]
        same = [other for other in later if other.network == stage.network]
        return (
            self.finished(stage)
            or any(self.begun(other) for other in same[1:])
            or any(self.was_shipped(other) for other in same)
        )

    def finished(self, stage: Stage) -> bool:
        """Whether a stage's run is here and has ended."""
        return (self.folder(stage) / WEIGHTS).exists()

    def begun(self, stage: Stage) -> bool:
        """Whether a stage's run is here."""
        return self.finished(stage) or (self.folder(stage) / CHECKPOINT).exists()

    def touched(self, stage: Stage) -> bool:
        """Whether anything of a stage's run is here, and be it a log."""
        return any((self.folder(stage) / name).exists() for name in RUN_FILES)

    def was_shipped(self, stage: Stage) -> bool:
        """Whether the shipped weights have been through a stage."""
        return not self.anew and stage.key in keys_of(shipped_chain(stage.network))

    def start_of(self, stage: Stage) -> str | None:
        """What a stage starts from, for ``--start-from``.

        Parameters
        ----------
        stage : Stage
            Of the plan.

        Returns
        -------
        str or None
            "" for fresh weights; None while the stage that it follows is not done.

        Raises
        ------
        FileNotFoundError
            If it is neither a stage nor a shipped name nor a file.
        """
        before = self.named(stage.start)
        if before is not None:
            if self.finished(before):
                return str(self.folder(before) / WEIGHTS)
            return before.network if self.was_shipped(before) else None
        if stage.start and stage.start not in shipped() and not Path(stage.start).is_file():
            raise FileNotFoundError(
                f"{stage.key} starts from {stage.start}, which is no stage of the plan, no shipped "
                "network and no file"
            )
        return stage.start

    def chain_before(self, stage: Stage) -> Chain:
        """What the weights that a stage starts from have learned from."""
        before = self.named(stage.start)
        if before is None:
            return shipped_chain(stage.start) if stage.start else []
        return self.chain(before) if self.finished(before) else shipped_chain(before.network)

    def chain(self, stage: Stage) -> Chain:
        """What a finished stage's weights have learned from."""
        recipe = recipe_of(self.folder(stage))
        return [*read_json(self.folder(stage) / CHAIN, []), _record(stage.key, recipe)]

    def note_chain(self, stage: Stage) -> None:
        """Write down what a stage starts from, once, ahead of its first step."""
        path = self.folder(stage) / CHAIN
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, self.chain_before(stage))

    def verdict(self, stage: Stage) -> dict[str, Any]:
        """What came of the comparison with the shipped weights; nothing before there was one."""
        return dict(read_json(self.folder(stage) / VERDICT, {}))

    def adopt(self, stage: Stage, run: Path) -> None:
        """Take a run that was made elsewhere for a stage.

        Parameters
        ----------
        stage : Stage
            Of which there is no run yet.
        run : Path
            The ``--out`` of ``sesr-ref train``; is copied.

        Raises
        ------
        FileExistsError
            If there is one.
        FileNotFoundError
            If `run` holds neither weights nor a checkpoint.
        """
        if self.begun(stage):
            raise FileExistsError(f"{stage.key} has a run already: {self.folder(stage)}")
        files = [run / name for name in RUN_FILES if (run / name).is_file()]
        if not {WEIGHTS, CHECKPOINT} & {file.name for file in files}:
            raise FileNotFoundError(f"{run}: holds neither {WEIGHTS} nor {CHECKPOINT}")
        self.note_chain(stage)
        for file in files:
            shutil.copyfile(file, self.folder(stage) / file.name)


def shipped_chain(network: str) -> Chain:
    """What shipped weights have learned from; those of before the run book had one stage."""
    entry = shipped().get(network)
    if entry is None:
        return []
    recipe = entry["recipe"]
    return list(recipe.get("stages") or [_record(f"{network}/first", recipe)])


def keys_of(chain: Chain) -> list[str]:
    """Names of a chain's stages."""
    return [record["stage"] for record in chain]


def _record(key: str, recipe: dict[str, Any]) -> dict[str, Any]:
    pixels = recipe.get("pixels") or pixels_of(recipe["command"], recipe["steps"])
    facts = {k: recipe[k] for k in ("steps", "hours", "seed")}
    return {
        "stage": key,
        "pixels": pixels,
        **facts,
        "command": public_command(recipe["command"]),
    }


def steps_done(folder: Path) -> int:
    """Steps of a run as its checkpoint says, or its log."""
    step = described(folder / CHECKPOINT).get("step")
    if step is None:
        step = next((row["step"] for row in reversed(log_of(folder))), 0)
    return int(step)


def log_of(folder: Path) -> list[dict[str, Any]]:
    """Lines of a run's log."""
    try:
        lines = (folder / "log.jsonl").read_text("utf-8").splitlines()
    except OSError:
        return []
    return [json.loads(line) for line in lines]


def read_json(path: Path, default: Any) -> Any:
    """What a file of JSON says, or something else where there is none."""
    return json.loads(path.read_text("utf-8")) if path.exists() else default


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people, so that a reader never meets half of it."""
    with atomic_write(path) as stream:
        stream.write((json.dumps(value, indent=2) + "\n").encode())


def is_held(path: Path) -> bool:
    """Whether another process holds a lock."""
    if not path.exists():
        return False
    with held(path) as free:
        return not free


@contextmanager
def held(path: Path, wait: bool = False) -> Iterator[bool]:
    """Hold a lock that the system takes back from a process that dies.

    Parameters
    ----------
    path : Path
        Of a file that is made for it.
    wait : bool
        Whether to wait for another process that holds it.

    Yields
    ------
    bool
        Whether it is held; without such locks (Windows) always.
    """
    try:
        import fcntl
    except ImportError:
        yield True
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
