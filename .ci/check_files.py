"""Check text files: python .ci/check_files.py [FILE ...]; without FILE all that git knows.

Ends of lines, blanks before them, the end of the file, marks of an unfinished merge, size, and
whether JSON and TOML can be read.  Prints a line for each fault; exit code 1 if there is one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST = 3_000_000
"""Bytes: a little more than the largest file here, an optimiser state."""
MERGE_MARKS = ("<" * 7 + " ", ">" * 7 + " ")


def faults(path: Path) -> Iterator[str]:
    """What is wrong with a file, a line each."""
    data = path.read_bytes()
    if len(data) > LARGEST:
        yield f"{path}: {len(data)} bytes, more than {LARGEST}"
    if b"\0" in data[:8192]:
        return  # no text
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        yield f"{path}: not UTF-8"
        return
    if "\r" in text:
        yield f"{path}: a carriage return"
    if text and (not text.endswith("\n") or text.endswith("\n\n")):
        yield f"{path}: must end with one newline"
    for number, line in enumerate(text.split("\n"), 1):
        if line != line.rstrip(" \t"):
            yield f"{path}:{number}: blanks at the end of the line"
        if line.startswith(MERGE_MARKS):
            yield f"{path}:{number}: the mark of a merge"
    try:
        if path.suffix == ".json":
            json.loads(text)
        elif path.suffix == ".toml":
            tomllib.loads(text)
    except ValueError as error:
        yield f"{path}: {error}"


def main() -> int:
    """Check the files that are named, or all; 1 if something is wrong."""
    names = sys.argv[1:]
    if not names:
        listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=False)
        if listed.returncode:  # a copy of the sources without git: nothing is to be committed there
            print("not a git repository: no files were checked", file=sys.stderr)
            return 0
        names = listed.stdout.decode().split("\0")
    found = [f for name in names if name and Path(name).is_file() for f in faults(Path(name))]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
