"""The folder of a golden pack: known by its manifest, replaced only if it holds nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

from sesr_ref.verify.golden.manifest import MANIFEST, read_manifest


def check_target(folder: Path, overwrite: bool) -> None:
    """Refuse to write a pack where anything would be lost.

    Parameters
    ----------
    folder : Path
        Where the pack shall be.
    overwrite : bool
        Whether a pack there may be replaced.

    Raises
    ------
    FileExistsError
        If there is a link, or anything that shall not be overwritten or is more than a pack.
    """
    if folder.is_symlink():
        raise FileExistsError(f"{folder} is a link; name {folder.resolve()} itself")
    if not folder.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{folder} exists already")
    try:
        hashes = read_manifest(folder / MANIFEST).get("sha256")
    except (ValueError, OSError):
        raise FileExistsError(f"{folder} is no golden pack: not overwritten") from None
    listed = {MANIFEST, *(hashes if isinstance(hashes, dict) else ())}
    for entry in sorted(folder.iterdir()):
        if entry.name not in listed or entry.is_symlink() or not entry.is_file():
            raise FileExistsError(
                f"{folder} is not overwritten: it holds {entry.name!r}, which is not of the pack"
            )


def put_in_place(temporary: Path, folder: Path, overwrite: bool) -> None:
    """Give a finished folder its name; a pack that has it goes once the new one is there.

    Parameters
    ----------
    temporary : Path
        Beside `folder`.
    folder : Path
        Checked once more, for what has appeared meanwhile.
    overwrite : bool
        As for `check_target`.

    Raises
    ------
    OSError
        If it cannot be done; then all is as before, except for an old pack that cannot be deleted.
    """
    check_target(folder, overwrite)
    if not folder.exists():
        temporary.rename(folder)
        return
    aside = temporary.with_name(f"{temporary.name}.old")
    folder.rename(aside)
    try:
        temporary.rename(folder)
    except BaseException:
        aside.rename(folder)
        raise
    shutil.rmtree(aside)
