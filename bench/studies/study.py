"""Studies: several trainings with one change each, here or shared by workers, and compared.

Each training is one `sesr-ref train` in its own folder, so that a stopped study resumes where it
was, and every line of its table can be reproduced from the command line.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import sesr_ref as sr
from sesr_ref.commands import train as command
from sesr_ref.commands.console import notice, one_line, print_line
from sesr_ref.commands.models import add_engine_option, engine_named
from sesr_ref.commands.train_work import Training
from sesr_ref.commands.workers import add_workers_options, place_for, shared_progress
from sesr_ref.evaluate import validation_psnr
from sesr_ref.files import atomic_write
from sesr_ref.workers import results

DIVERGED = "diverged.txt"
SHOWN_DB = 1.8


@dataclass(frozen=True)
class Variant:
    """One training of a study.

    `name` is its folder, `what` describes the change, `options` are those of `sesr-ref train` for
    it, and variants of one `group` are drawn together.
    """

    name: str
    what: str
    options: str = ""
    group: str = ""


@dataclass(frozen=True)
class Outcome:
    """Result of a variant; `psnr_db` is None if its training diverged.

    `pixels` is the number of low-resolution pixels it was trained on, `cpu_hours` its processor
    time if run.json states it, `curve` its (steps, PSNR in dB) on the validation images.
    """

    name: str
    what: str
    group: str
    steps: int
    pixels: int
    psnr_db: float | None
    cpu_hours: float | None
    curve: list[list[float]]


def parser(text: str | None) -> argparse.ArgumentParser:
    """Make a parser with the options of every study."""
    result = argparse.ArgumentParser(description=text)
    result.add_argument("--data", type=Path, required=True, help="folder of training images")
    result.add_argument("--val", type=Path, required=True, help="folder of images to score on")
    result.add_argument("--out", type=Path, required=True, help="folder of the runs")
    result.add_argument("--only", nargs="*", metavar="NAME", help="variants (default: all)")
    result.add_argument("--only-finished", action="store_true", help="train nothing")
    result.add_argument("--threads", type=int, default=1, help="threads of each training (1)")
    result.add_argument("--figure", type=Path, help="draw the curves to this PNG")
    add_engine_option(result)
    add_workers_options(result, "one training after the other")
    return result


def outcomes(args: argparse.Namespace, base: str, variants: Sequence[Variant]) -> list[Outcome]:
    """Train unfinished variants, unless ``--only-finished`` is set, and score finished ones.

    Parameters
    ----------
    args : Namespace
        From `parser`.
    base : str
        Options of `sesr-ref train` for all variants; a variant's own options override them.
    variants : sequence of Variant
        What to train, in this order.

    Returns
    -------
    list of Outcome
        One for each finished variant.

    Raises
    ------
    ValueError
        For an unknown name in ``--only``, or if no variant is finished.
    RuntimeError
        If a training fails for another reason than divergence, with its message.
    """
    known = [variant.name for variant in variants]
    if odd := sorted(set(args.only or ()) - set(known)):
        raise ValueError(f"no variant is called {odd[0]!r}; there are {', '.join(known)}")
    score, found = validation_psnr(args.val, 2, engine_named(args.engine)), []
    wanted = [variant for variant in variants if not args.only or variant.name in args.only]
    if not args.only_finished:
        _train_all(args, base, wanted)
    for variant in wanted:
        folder = args.out / variant.name
        diverged = (folder / DIVERGED).is_file()
        if diverged or (folder / "weights.npz").is_file():
            psnr_db = None if diverged else score(*sr.load(folder / "weights.npz"))
            found.append(_outcome(variant, folder, base, psnr_db))
            print_line(f"{variant.name}: {decibels(psnr_db)}")
    if not found:
        raise ValueError(f"{args.out}: holds no finished run")
    return found


def decibels(psnr_db: float | None) -> str:
    """``32.374 dB``."""
    return "diverged" if psnr_db is None else f"{psnr_db:.3f} dB"


def _train_all(args: argparse.Namespace, base: str, variants: Sequence[Variant]) -> None:
    """Train or resume; a folder with a run of another recipe is rejected."""
    jobs: dict[tuple[str, ...], Path] = {}
    for variant in variants:
        folder = args.out / variant.name
        if not (folder / DIVERGED).is_file():
            jobs[_words(folder, f"{base} {variant.options}", args)] = folder
    place = place_for(args, len(jobs), default=1)
    with shared_progress(max(1, len(jobs)), "training") as shares:

        def show(words: tuple[str, ...], part: float) -> None:
            shares.part(words, part, jobs[words].name)

        def begun() -> Iterator[tuple[str, ...]]:
            for words, folder in jobs.items():
                print_line(f"{folder.name}: sesr-ref train {shlex.join(words)}")
                yield words

        for words, error in results(Training(), begun(), place, show):
            _take(jobs[words], error)
            shares.end(words)


def _words(folder: Path, options: str, args: argparse.Namespace) -> tuple[str, ...]:
    """Options of a training, with paths that a worker with another working folder finds."""
    given = {
        "--data": args.data.absolute(),
        "--val": args.val.absolute(),
        "--out": folder.absolute(),
        "--cache": (args.out / "cache").absolute(),
        "--threads": args.threads,
        "--engine": engine_named(args.engine).name,
    }
    return (*(str(word) for pair in given.items() for word in pair), *shlex.split(options))


def _take(folder: Path, error: Exception | None) -> None:
    """Note that a training has diverged; raise any other error of it."""
    if isinstance(error, FloatingPointError):
        notice(f"{folder}: {error}")
        with atomic_write(folder / DIVERGED) as stream:
            stream.write(str(error).encode())
    elif error is not None:
        raise RuntimeError(f"{folder}: the training failed: {one_line(error)}") from error


def _outcome(variant: Variant, folder: Path, base: str, psnr_db: float | None) -> Outcome:
    log = folder / "log.jsonl"
    rows = (
        [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []
    )
    run = folder / "run.json"
    facts = json.loads(run.read_text("utf-8")) if run.is_file() else {}
    how = recipe(f"{base} {variant.options}")
    steps = how.steps if psnr_db is not None else (rows[-1]["step"] if rows else 0)
    return Outcome(
        variant.name,
        variant.what,
        variant.group,
        steps,
        steps * how.batch * how.crop**2,
        psnr_db,
        facts.get("cpu_hours"),
        [[row["step"], row["psnr_db"]] for row in rows],
    )


def recipe(options: str) -> argparse.Namespace:
    """Parse options as `sesr-ref train` does."""
    reader = argparse.ArgumentParser()
    command.add_arguments(reader)
    return reader.parse_args(["--data", "", "--out", "", *shlex.split(options)])


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table; the first column is aligned left, the others right."""
    rule = ["---"] + ["---:"] * (len(columns) - 1)
    return "".join(f"| {' | '.join(row)} |\n" for row in (columns, rule, *rows))


def write(out: Path, stem: str, text: str, found: Sequence[Outcome]) -> None:
    """Write the table to OUT/STEM.md, and every outcome as a line of OUT/STEM.jsonl."""
    lines = "".join(json.dumps(asdict(outcome)) + "\n" for outcome in found)
    for suffix, content in ((".md", text), (".jsonl", lines)):
        with atomic_write(out / (stem + suffix)) as stream:
            stream.write(content.encode())


def read(path: Path) -> list[Outcome]:
    """Read the outcomes that `write` wrote to a .jsonl."""
    return [Outcome(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def draw(path: Path, title: str, panels: Mapping[str, Sequence[Outcome]]) -> None:
    """Draw PSNR on validation images over steps, one panel for each group of variants."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, all_axes = plt.subplots(
        1,
        len(panels),
        figsize=(1 + 5 * len(panels), 4.5),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axes, (name, members) in zip(all_axes[0], panels.items(), strict=True):
        for outcome in members:
            curve = [(step, db) for step, db in outcome.curve if db is not None]
            if curve:
                axes.plot(*zip(*curve, strict=True), label=outcome.what, linewidth=1.2)
        axes.set(xlabel="steps", title=name)
        axes.grid(alpha=0.3)
        if axes.has_data():
            axes.legend(fontsize=7, loc="lower right")
    scores = [db for members in panels.values() for o in members for _, db in o.curve if db]
    best = max(scores, default=0.0)
    all_axes[0][0].set_ylim(best - SHOWN_DB, best + 0.05 * SHOWN_DB)  # failures may lie below
    all_axes[0][0].set_ylabel("PSNR on validation images (Y) / dB")
    figure.suptitle(title)
    figure.savefig(path, dpi=130)
