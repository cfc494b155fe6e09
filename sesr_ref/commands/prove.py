"""Prove that a network's collapse is right: in fractions, float64 and float32.

Exit code 0 if every check passes, 1 otherwise.  Differences are in units in the last place of the
array's largest value; "allowed" is the sum of both sides' rounding-error bounds.
"""

from __future__ import annotations

import argparse

from sesr_ref.commands.console import print_json, print_table
from sesr_ref.commands.models import add_model_argument, model_of
from sesr_ref.verify.proof import Check, prove


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref prove``."""
    add_model_argument(parser, "shipped name or file, with linear blocks")
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="seed of the random image (default 0)"
    )
    parser.add_argument("--all", action="store_true", help="print every check")
    parser.add_argument("--json", action="store_true", help="print every check as JSON")


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be an integer of at least 0, got {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Print the checks, or the worst of each kind."""
    net, params = model_of(args)
    checks = prove(net, params, args.seed)
    failed = [check for check in checks if not check.passed]
    if args.json:
        print_json(
            {"proved": not failed, "checks": [c._asdict() | {"passed": c.passed} for c in checks]}
        )
    else:
        shown = checks if args.all else [*_worst_of_each(checks), *failed]
        columns = ("check", "largest difference", "ulp", "of what is allowed", "")
        print_table(f"{net.name}: {len(checks)} checks", columns, [_row(c) for c in shown])
        print(f"{len(failed)} of {len(checks)} checks fail" if failed else "proved")
    return 1 if failed else 0


def _row(check: Check) -> tuple[str, ...]:
    verdict = "pass" if check.passed else "FAIL"
    return check.name, f"{check.worst:.2e}", f"{check.ulp:.2g}", f"{check.used:.1%}", verdict


def _worst_of_each(checks: list[Check]) -> list[Check]:
    worst: dict[str, Check] = {}
    for check in checks:
        sort = check.name.partition(": ")[2]
        if sort not in worst or check.used > worst[sort].used:
            worst[sort] = check
    return list(worst.values())
