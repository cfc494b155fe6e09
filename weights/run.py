"""Train the networks of the run book, weights/plan.toml, one stage after another.

    python weights/run.py --data TRAIN --val KODAK24 --eval EVAL [--threads N]

takes the next unfinished stage, trains it at the lowest priority (nice 19), goes on with it after
any kill, compares it with the shipped weights on KODAK24, ships what is better and takes the next
one.  It commits nothing.  --jobs N or --cluster ADDRESS train several at once; several run.py may
run at once, too: none takes another one's stage.  Ctrl-C, SIGTERM and --until HOURS leave a
checkpoint (--cluster: stages that are being trained there go on to their end).  The folders may be
given by SESR_TRAIN, SESR_VAL and SESR_EVAL.

    python weights/run.py --status [--json]

prints what is done, and what is left in hours.

    python weights/run.py --save

puts what is begun into weights/states, where git sees it and a fresh clone goes on from it.
weights/README.md has the other options.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM, default_int_handler, raise_signal, signal

import saved
from book import VERDICT, Book, held, write_json
from plan import PLAN, Stage, read_plan
from sesr_ref.commands.console import notice, one_line
from sesr_ref.commands.models import add_engine_option, engine_named
from sesr_ref.commands.train_work import Training
from sesr_ref.commands.workers import add_workers_options, place_for, shared_progress
from sesr_ref.workers import WorkerLost, results
from ship import Judged, take
from state import remove_stale_state
from status import print_status

FOLDERS = {"data": "SESR_TRAIN", "val": "SESR_VAL", "eval": "SESR_EVAL"}
"""Options that may be given by the environment."""


class Deadline:
    """Interrupts trainings once a time has passed, and says so."""

    def __init__(self, hours: float | None) -> None:
        self.passed = False
        self._training = threading.Event()
        if hours is not None:
            timer = threading.Timer(3600 * hours, self._pass)
            timer.daemon = True
            timer.start()

    def _pass(self) -> None:
        self.passed = True
        if self._training.is_set():
            raise_signal(SIGINT)  # as Ctrl-C: trainings end their step and write a checkpoint

    @contextmanager
    def training(self) -> Iterator[None]:
        """While the block runs, it is interrupted when the time has passed."""
        self._training.set()
        try:
            yield
        finally:
            self._training.clear()

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """While the block runs, it is not interrupted; at its end, if the time has passed."""
        self._training.clear()
        yield
        self._training.set()
        if self.passed:
            raise KeyboardInterrupt


def words_for(stage: Stage, book: Book, start: str, args: argparse.Namespace) -> list[str]:
    """The command of a stage, as ``sesr-ref`` takes it."""
    words = ["train", "--data", str(args.data), "--val", str(args.val), "--engine", args.engine]
    words += ["--out", str(book.folder(stage))]
    if args.threads:
        words += ["--threads", str(args.threads)]
    words += [*stage.words, "--steps", str(stage.steps), "--seed", str(stage.seed)]
    if Path(start).is_file():
        start = str(Path(start).absolute())  # a worker may have another working folder
    return [*words, *(["--start-from", start] if start else [])]


def judge(stage: Stage, book: Book, args: argparse.Namespace) -> None:
    """Compare a finished stage with the shipped weights and ship it if it is better; once."""
    if book.verdict(stage):
        return
    chain = book.chain(stage)
    known = {"pixels": sum(record["pixels"] for record in chain), "stages": chain}
    with held(book.runs / ".ship.lock", wait=True):  # one writes the manifest at a time
        judged = take(
            book.folder(stage),
            stage.network,
            args.eval,
            args.val,
            engine_named(args.engine),
            known=known,
        )
        if judged.entry:
            remove_stale_state(stage.network)
    write_json(book.folder(stage) / VERDICT, _verdict(judged))
    notice(f"{stage.key}: {_told(judged)}")


def _verdict(judged: Judged) -> dict[str, object]:
    return {
        "psnr_db": judged.psnr_db,
        "before_db": judged.before_db,
        "shipped": bool(judged.entry),
    }


def _told(judged: Judged) -> str:
    before = "nothing" if judged.before_db is None else f"{judged.before_db:.3f} dB"
    what = "shipped" if judged.entry else "not shipped"
    return f"{judged.psnr_db:.3f} dB, {before} before: {what}"


def restore_kept(book: Book) -> None:
    """Go on from what another machine left in weights/states."""
    for stage in reversed(book.stages):  # a later stage makes an earlier one needless
        if saved.restore(book, stage):
            notice(f"{stage.key}: goes on from {saved.file_of(stage)}, of its kind, not its bits")


def left(book: Book, stages: Sequence[Stage], args: argparse.Namespace) -> list[Stage]:
    """The stages that are not done, or done and not compared with the shipped weights."""
    untrained = [] if args.ship else [stage for stage in stages if not book.done(stage)]
    ended = [] if args.no_ship else [stage for stage in stages if book.finished(stage)]
    unjudged = [stage for stage in ended if not book.verdict(stage)]
    return [stage for stage in stages if stage in untrained or stage in unjudged]


class Course:
    """Stages that are being trained, with the locks that say so, and those that failed."""

    def __init__(
        self, book: Book, stages: Sequence[Stage], args: argparse.Namespace, deadline: Deadline
    ) -> None:
        self.book, self.stages, self.args, self.deadline = book, stages, args, deadline
        self.running: dict[tuple[str, ...], tuple[Stage, ExitStack]] = {}
        self.failed: set[str] = set()

    def jobs(self) -> Iterator[tuple[str, ...] | None]:
        """Yield the trainings of stages in the plan's order; None where all others wait."""
        while not self.deadline.passed:
            yield next(filter(None, map(self._begun, self._left())), None)

    def _left(self) -> list[Stage]:
        taken = {stage.key for stage, _ in self.running.values()} | self.failed
        stages = left(self.book, self.stages, self.args)
        return [stage for stage in stages if stage.key not in taken]

    def _begun(self, stage: Stage) -> tuple[str, ...] | None:
        """The training of a stage, if nobody else has it and what it starts from is there."""
        book = self.book
        with ExitStack() as lock:
            if not lock.enter_context(held(book.lock(stage))):
                return None
            if book.done(stage):
                self._judge(stage)
                return None
            start = book.start_of(stage)
            if start is None:
                return None
            book.note_chain(stage)
            notice(f"{stage.key}: {stage.steps} steps, {stage.pixels / 1e9:.1f} Gpx")
            words = tuple(words_for(stage, book, start, self.args)[1:])
            self.running[words] = stage, lock.pop_all()
            return words

    def end(self, words: tuple[str, ...], error: Exception | None) -> None:
        """Take the end of a training: the others go on without one that has failed."""
        stage, lock = self.running.pop(words)
        with lock:
            if isinstance(error, (FloatingPointError, WorkerLost)):
                notice(f"{stage.key}: {one_line(error)}")
                self.failed.add(stage.key)
            elif error is not None:
                raise error
            else:
                self._judge(stage)

    def _judge(self, stage: Stage) -> None:
        if self.book.finished(stage) and not self.args.no_ship:
            with self.deadline.undisturbed():
                judge(stage, self.book, self.args)

    def close(self) -> None:
        """Leave what is not done to others."""
        for _, lock in self.running.values():
            lock.close()


def run_book(book: Book, stages: Sequence[Stage], args: argparse.Namespace) -> int:
    """Train one stage after the other, or several at once; 1 if one failed."""
    deadline = Deadline(args.until)
    course = Course(book, stages, args, deadline)
    place = place_for(args, len(stages), default=1)
    try:
        with closing(course), deadline.training(), shared_progress(len(stages), "stages") as shares:

            def show(words: tuple[str, ...], part: float) -> None:
                shares.part(words, part, course.running[words][0].key)

            for words, error in results(Training(), course.jobs(), place, show):
                course.end(words, error)
                shares.end(words)
    except KeyboardInterrupt:
        if not deadline.passed:
            raise
    return _ended(left(book, stages, args), deadline.passed, course.failed)


def _ended(rest: Sequence[Stage], in_time: bool, failed: set[str]) -> int:
    why = "the time is over" if in_time else "failed, or with another process" if rest else ""
    notice(f"{len(rest)} stages left: {why}" if rest else "nothing is left to be done")
    return 1 if failed else 0


def chosen(book: Book, only: Sequence[str] | None, names: Sequence[str] | None) -> list[Stage]:
    """The stages that ``--only`` and ``--stage`` ask for."""
    for given, known in ((only, "network"), (names, "name")):
        there = dict.fromkeys(getattr(stage, known) for stage in book.stages)
        if odd := sorted(set(given or ()) - set(there)):
            raise ValueError(f"the plan has no {odd[0]}, only {', '.join(there)}")
    return [
        stage
        for stage in book.stages
        if (not only or stage.network in only) and (not names or stage.name in names)
    ]


def parser() -> argparse.ArgumentParser:
    """Options of run.py."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    texts = {
        "data": "folder of training images",
        "val": "folder of validation images: Kodak24",
        "eval": "folder of test sets",
    }
    for key, text in texts.items():
        default = os.environ.get(FOLDERS[key])
        parser.add_argument(f"--{key}", type=Path, default=default and Path(default), help=text)
    here = Path(__file__).parent
    parser.add_argument("--runs", type=Path, default=here / "runs", help="folder of the runs")
    parser.add_argument("--plan", type=Path, default=PLAN, help="file of the plan")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of a training")
    parser.add_argument("--only", nargs="+", metavar="NETWORK", help="these networks alone")
    parser.add_argument("--stage", nargs="+", metavar="STAGE", help="these stages alone")
    parser.add_argument("--until", type=float, metavar="HOURS", help="stop after that long")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--no-ship", action="store_true", help="train, compare and ship nothing")
    which.add_argument("--ship", action="store_true", help="compare what has ended, train nothing")
    parser.add_argument("--anew", action="store_true", help="shipped weights count for nothing")
    parser.add_argument("--status", action="store_true", help="print how far everything is")
    parser.add_argument("--save", action="store_true", help="keep what is begun in weights/states")
    parser.add_argument("--json", action="store_true", help="the status for programs")
    parser.add_argument(
        "--adopt", nargs=2, metavar=("NETWORK/STAGE", "RUN"), help="take a run for a stage"
    )
    add_engine_option(parser)
    add_workers_options(parser, "one stage after the other")
    return parser


def adopt(book: Book, key: str, run: Path) -> int:
    """Copy a run to where the book has that of a stage."""
    stage = book.named(key)
    if stage is None:
        raise ValueError(f"the plan has no {key}, only {', '.join(s.key for s in book.stages)}")
    book.adopt(stage, run)
    notice(f"{key}: {run} is copied to {book.folder(stage)}")
    return 0


def carry_out(args: argparse.Namespace) -> int:
    """Do what the options ask for."""
    book = Book(read_plan(args.plan), args.runs.resolve(), args.anew)
    stages = chosen(book, args.only, args.stage)
    if args.adopt:
        return adopt(book, args.adopt[0], Path(args.adopt[1]))
    if args.save:
        print("\n".join(saved.save(book)) or "nothing is to be kept")
        return 0
    if args.status or args.json:
        return print_status(book, stages, args.json)
    unused = {"eval"} if args.no_ship else {"data"} if args.ship else set()
    for key in (key for key in FOLDERS if key not in unused):
        if getattr(args, key) is None:
            raise ValueError(f"--{key} (or {FOLDERS[key]}) is needed")
        setattr(args, key, getattr(args, key).resolve())
    if hasattr(os, "nice"):
        os.nice(19)
    book.runs.mkdir(parents=True, exist_ok=True)
    if not args.anew:
        with held(book.runs / ".restore.lock", wait=True):
            restore_kept(book)
    return run_book(book, stages, args)


def main() -> int:
    """Parse and do; 2 for a user's mistake, 130 after Ctrl-C."""
    signal(SIGTERM, default_int_handler)  # as Ctrl-C
    try:
        return carry_out(parser().parse_args())
    except (ValueError, OSError, ImportError) as error:
        print(f"run.py: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("run.py: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
