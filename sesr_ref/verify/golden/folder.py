"""The folder of a golden pack: recognised by its manifest, replaced only without other files."""

from __future__ import annotations

import shutil
from pathlib import Path

from sesr_ref.verify.golden.manifest import MANIFEST, read_manifest


def check_target(folder: Path, overwrite: bool) -> None:
    """Raise if writing a pack to a folder could lose any file.

    Parameters
    ----------
    folder : Path
        The folder to write.
    overwrite : bool
        Whether to replace a pack there.

    Raises
    ------
    FileExistsError
        If it is a link, exists and `overwrite` is false, or is not a pack or has other files.
    """
    if folder.is_symlink():
        raise FileExistsError(f"{folder} is a link; give its target {folder.resolve()} instead")
    if not folder.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{folder} exists already")
    try:
        hashes = read_manifest(folder / MANIFEST).get("sha256")
    except (ValueError, OSError):
        raise FileExistsError(f"{folder} is not a golden pack and is not overwritten") from None
    listed = {MANIFEST, *(hashes if isinstance(hashes, dict) else ())}
    for entry in sorted(folder.iterdir()):
        if entry.name not in listed or entry.is_symlink() or not entry.is_file():
            raise FileExistsError(
                f"{folder} is not overwritten: {entry.name!r} in it does not belong to the pack"
            )


def put_in_place(temporary: Path, folder: Path, overwrite: bool) -> None:
    """Rename a finished folder; an old pack of that name is removed after the new one is in place.

    Parameters
    ----------
    temporary : Path
        The finished folder, next to `folder`.
    folder : Path
        The new name; checked once more for files that have appeared meanwhile.
    overwrite : bool
        As for `check_target`.

    Raises
    ------
    OSError
        If it fails; then nothing has changed, unless an old pack could not be deleted.
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
