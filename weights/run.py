"""Train the networks of the run book, weights/plan.toml, one stage after another.

    python weights/run.py --data TRAIN --val KODAK24 --eval EVAL [--threads N]

takes the next unfinished stage, trains it at the lowest priority (nice 19), goes on with it after
any kill, compares it with the shipped weights on KODAK24, ships what is better and takes the next
one.  It commits nothing.  Several may run at once: none takes another one's stage.  Ctrl-C,
SIGTERM and --until HOURS leave a checkpoint.  The folders may be given by SESR_TRAIN, SESR_VAL and
SESR_EVAL.

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
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, raise_signal

import saved
from book import VERDICT, Book, held, write_json
from plan import PLAN, Stage, options_of, read_plan
from sesr_ref.commands.console import notice, one_line
from sesr_ref.commands.models import add_engine_option, engine_named
from sesr_ref.commands.train import run as train_command
from ship import Judged, take
from state import remove_stale_state
from status import print_status

FOLDERS = {"data": "SESR_TRAIN", "val": "SESR_VAL", "eval": "SESR_EVAL"}
"""Options that may be given by the environment."""


class Deadline:
    """Interrupts a training once a time has passed, and says so."""

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
            raise_signal(SIGINT)  # as Ctrl-C: the training ends its step and writes a checkpoint

    @contextmanager
    def training(self) -> Iterator[None]:
        """While the block runs, it is interrupted when the time has passed."""
        self._training.set()
        try:
            yield
        finally:
            self._training.clear()


def words_for(stage: Stage, book: Book, start: str, args: argparse.Namespace) -> list[str]:
    """The command of a stage, as ``sesr-ref`` takes it."""
    words = ["train", "--data", str(args.data), "--val", str(args.val), "--engine", args.engine]
    words += ["--out", str(book.folder(stage))]
    if args.threads:
        words += ["--threads", str(args.threads)]
    words += [*stage.words, "--steps", str(stage.steps), "--seed", str(stage.seed)]
    return [*words, *(["--start-from", start] if start else [])]


def train_stage(stage: Stage, book: Book, start: str, args: argparse.Namespace) -> None:
    """Train a stage to its end, from where it was left."""
    book.note_chain(stage)
    words = words_for(stage, book, start, args)
    options = options_of(tuple(words[1:]))
    options.words, options.resume = words, book.touched(stage)
    notice(f"{stage.key}: {stage.steps} steps, {stage.pixels / 1e9:.1f} Gpx")
    train_command(options)


def judge(stage: Stage, book: Book, args: argparse.Namespace) -> None:
    """Compare a finished stage with the shipped weights and ship it if it is better; once."""
    if book.verdict(stage):
        return
    chain = book.chain(stage)
    known = {"pixels": sum(record["pixels"] for record in chain), "stages": chain}
    with held(book.runs / ".ship.lock", wait=True):  # one writes the manifest at a time
        judged = take(
            book.folder(stage), stage.network, args.eval, args.val, engine_named(args.engine),
            known=known,
        )  # fmt: skip
        if judged.entry:
            remove_stale_state(stage.network)
    write_json(book.folder(stage) / VERDICT, _verdict(judged))
    notice(f"{stage.key}: {_told(judged)}")


def _verdict(judged: Judged) -> dict[str, object]:
    return {
        "psnr_db": judged.psnr_db, "before_db": judged.before_db, "shipped": bool(judged.entry),
    }  # fmt: skip


def _told(judged: Judged) -> str:
    before = "nothing" if judged.before_db is None else f"{judged.before_db:.3f} dB"
    what = "shipped" if judged.entry else "not shipped"
    return f"{judged.psnr_db:.3f} dB, {before} before: {what}"


def restore_kept(book: Book) -> None:
    """Go on from what another machine left in weights/states."""
    for stage in reversed(book.stages):  # a later stage makes an earlier one needless
        if saved.restore(book, stage):
            notice(f"{stage.key}: goes on from {saved.file_of(stage)}, of its kind, not its bits")


def run_stage(stage: Stage, book: Book, args: argparse.Namespace, deadline: Deadline) -> bool:
    """Train and judge a stage; False if it cannot be now: another process has it, or it waits."""
    with held(book.lock(stage)) as free:
        if not free:
            return False
        if not book.done(stage):
            start = book.start_of(stage)
            if start is None:
                return False
            with deadline.training():
                train_stage(stage, book, start, args)
        if book.finished(stage) and not args.no_ship:
            judge(stage, book, args)
    return True


def left(book: Book, stages: Sequence[Stage], args: argparse.Namespace) -> list[Stage]:
    """The stages that are not done, or done and not compared with the shipped weights."""
    untrained = [] if args.ship else [stage for stage in stages if not book.done(stage)]
    ended = [] if args.no_ship else [stage for stage in stages if book.finished(stage)]
    unjudged = [stage for stage in ended if not book.verdict(stage)]
    return [stage for stage in stages if stage in untrained or stage in unjudged]


def run_book(book: Book, stages: Sequence[Stage], args: argparse.Namespace) -> int:
    """Take one stage after another; 1 if one failed."""
    deadline, failed = Deadline(args.until), set[str]()
    while not deadline.passed:
        for stage in left(book, stages, args):
            if stage.key in failed:
                continue
            try:
                if run_stage(stage, book, args, deadline):
                    break
            except FloatingPointError as error:  # the others can go on without it
                notice(f"{stage.key}: {one_line(error)}")
                failed.add(stage.key)
            except KeyboardInterrupt:
                if not deadline.passed:
                    raise
                break
        else:
            break
    return _ended(left(book, stages, args), deadline.passed, failed)


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
        "data": "folder of training images", "val": "folder of validation images: Kodak24",
        "eval": "folder of test sets",
    }  # fmt: skip
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
