"""JobPlan which input becomes which output file, so that nothing is overwritten by surprise."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sesr_ref.files import check_free
from sesr_ref.images import SUFFIXES
from sesr_ref.images.formats import format_of
from sesr_ref.limits import check


class Job(NamedTuple):
    """One image to read and the file to write."""

    source: Path
    target: Path


class JobPlan(NamedTuple):
    """All jobs of one command.

    `one` says whether the user named a single image, whose failure makes the command fail;
    `ignored` are the files in folders that are not images of a supported format.
    """

    jobs: list[Job]
    one: bool
    ignored: list[Path]


def plan(inputs: Sequence[str], out: str, suffix: str | None = None) -> JobPlan:
    """Decide which files to write, before any is written.

    Parameters
    ----------
    inputs : sequence of str
        Files and folders; folders are searched with their sub-folders, except for hidden ones and
        the output folder.
    out : str
        For a single input file, a file if it has a suffix and is not a folder; otherwise a folder,
        in which the tree of each input folder is kept.
    suffix : str, optional
        Suffix of all outputs, such as ``".png"``; by default each input's own.

    Returns
    -------
    JobPlan

    Raises
    ------
    FileNotFoundError
        If an input does not exist.
    OSError
        If a folder cannot be read or the output is of the wrong kind.
    ValueError
        If there is no image, two would become the same file, an output is an input, or a name is
        empty.
    """
    _check_names(inputs, out)
    one = len(inputs) == 1 and not Path(inputs[0]).is_dir()
    ignored: list[Path] = []
    if one and _names_file(out):
        jobs = [Job(Path(inputs[0]), _as_file(out, suffix))]
    else:
        jobs = list(dict.fromkeys(_into_folder(inputs, _as_folder(out, inputs), suffix, ignored)))
        if not jobs:
            raise ValueError(f"{', '.join(inputs)} contains no image ({', '.join(SUFFIXES)})")
    _check_apart(jobs)
    return JobPlan(jobs, one, ignored)


def _check_names(inputs: Sequence[str], out: str) -> None:
    if not out or "" in inputs:
        raise ValueError("the name of an input or of the output is empty")
    if Path(out).name.lower() in SUFFIXES and not (Path(out).is_dir() or out.endswith("/")):
        raise ValueError(f"{out} is a suffix without a name before it")
    for name in inputs:
        if not Path(name).exists():
            raise FileNotFoundError(f"{name}: no such file or folder")


def _names_file(out: str) -> bool:
    return not out.endswith(("/", os.sep)) and not Path(out).is_dir() and Path(out).suffix != ""


def _as_file(out: str, suffix: str | None) -> Path:
    kind = format_of(out)
    wanted = kind if suffix is None else SUFFIXES[suffix]
    check(kind == wanted, f"{out}: the suffix", f"that of {wanted} (--format)", kind)
    return Path(out)


def _as_folder(out: str, inputs: Sequence[str]) -> Path:
    folder = Path(out)
    is_file = os.path.lexists(folder) and not folder.is_dir()
    if is_file or (folder.suffix.lower() in SUFFIXES and not folder.is_dir() and out[-1] != "/"):
        what = "is a file" if is_file else "is the name of a file"
        raise NotADirectoryError(f"{out} {what}, but the output of {', '.join(inputs)} is a folder")
    return folder


def _into_folder(
    inputs: Sequence[str], out: Path, suffix: str | None, ignored: list[Path]
) -> Iterator[Job]:
    for name in inputs:
        source = Path(name)
        if not source.is_dir():
            yield Job(source, out / _renamed(Path(source.name), suffix))
            continue
        for path in files_in(source, besides=out):
            if path.suffix.lower() not in SUFFIXES:
                ignored.append(path)
                continue
            yield Job(path, out / _renamed(path.relative_to(source), suffix))


def _renamed(path: Path, suffix: str | None) -> Path:
    if path.suffix.lower() not in SUFFIXES:
        return path.with_name(path.name + (suffix or ".png"))
    return path if suffix is None else path.with_suffix(suffix)


def files_in(folder: Path, besides: Path) -> Iterator[Path]:
    """Files in a folder and its sub-folders by name, except for hidden ones and `besides`."""

    def stop(error: OSError) -> None:
        raise error

    left_out = os.path.realpath(besides)
    for root, folders, names in os.walk(folder, onerror=stop):
        here = Path(root)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(here / name) != left_out
        )
        for name in sorted(names):
            path = here / name
            if not name.startswith(".") and path.is_file():
                yield path


def _check_apart(jobs: Sequence[Job]) -> None:
    """Raise ValueError if two jobs write the same file or one writes another's input."""
    sources = {os.path.realpath(job.source) for job in jobs}
    targets: dict[str, Path] = {}
    for source, target in jobs:
        key = os.path.normcase(target)
        if key in targets:
            raise ValueError(f"{targets[key]} and {source} would both become {target}")
        if os.path.realpath(target) in sources:
            raise ValueError(f"{target} is also an input; choose another output")
        check_free(target, overwrite=True)
        targets[key] = source
