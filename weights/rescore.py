"""Score the shipped networks anew, for when the code behind the scores has changed.

    python weights/rescore.py --data EVAL [NAME ...]

Writes the scores of NAMEs (all unless given) into the manifest and prints those that changed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sesr_ref as sr
from sesr_ref.commands.models import add_engine_option, engine_named
from sesr_ref.shipped import shipped, smallest
from ship import scores_of, write_manifest


def rescored(entries: dict[str, Any], names: Sequence[str], data: Path, engine: str) -> list[str]:
    """Put new scores into the entries; a line for each that changed."""
    lines: list[str] = []
    for name in names:
        if name not in entries:
            raise ValueError(f"{name}: not shipped; there is {', '.join(entries)}")
        before = entries[name]["scores"]
        protocol = before["protocol"].partition(":")[0]
        after = scores_of(sr.load(smallest(name)), data, protocol, engine_named(engine))
        lines += _changes(name, before, after)
        entries[name] = entries[name] | {"scores": after}
    return lines


def _changes(name: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for key in sorted(after.keys() - {"protocol"}):
        if before.get(key) != after[key]:
            old, new = (_text(scores.get(key)) for scores in (before, after))
            yield f"{name} {key}: {old} -> {new}"


def _text(score: dict[str, float] | None) -> str:
    return f"{score['psnr_db']:.4f}/{score['ssim']:.4f}" if score else "not scored"


def main() -> int:
    """Parse and score; 2 for what cannot be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--data", type=Path, required=True, help="folder of test sets")
    add_engine_option(parser)
    args = parser.parse_args()
    entries = dict(shipped())
    try:
        lines = rescored(entries, args.names or list(entries), args.data, args.engine)
    except (ValueError, OSError) as error:
        print(f"rescore.py: {error}", file=sys.stderr)
        return 2
    write_manifest(entries)
    print("\n".join(lines) or "nothing changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
