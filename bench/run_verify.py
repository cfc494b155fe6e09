"""Test the oracle with other runtimes: ``python bench/run_verify.py [--data FOLDER]``.

Every installed runtime runs M5 and XL (x2 and x4) and FSRCNN on real images in every arithmetic
that it offers.  Each must be accepted end to end and, if it shows its tensors, layer by layer.
``--calibrate`` prints the histogram of errors in standard deviations of the statistical model, for
these and for simulated implementations; `SIGMAS` was chosen from it.

``--bounds`` prints every tensor's error and the three kinds of bounds.

FOLDER contains images; the default is scikit-image's photographs.  Exit code 1 if a runtime is
rejected.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import sesr_ref as sr
from sesr_ref.commands.console import notice, print_json, print_table
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.verify.bounds.arithmetic import Arithmetic, format_named, rounded
from sesr_ref.verify.bounds.model import prepare
from sesr_ref.verify.bounds.walk import SIGMAS, walk
from sesr_ref.verify.comparison.tally import CHECKS
from speed.tensor_peers import DTYPES, PEERS, WINOGRAD, NotOffered, Tensors
from verification import simulated
from verification.cases import NETWORKS, Case, cases

EDGES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, np.inf)
COLUMNS = (
    "network",
    "runtime",
    "dtype",
    "tensors",
    "images",
    "theorem",
    "own inputs",
    "end to end",
    "output",
    "",
)


def tensors_of(peer: str, case: Case, dtype: str) -> Tensors:
    """Tensors of a runtime; NotOffered if it is not installed or computes in another format."""
    try:
        tensors = PEERS[peer](case.net, case.params, case.x, dtype)
    except (ImportError, RuntimeError) as error:
        raise NotOffered(str(error).splitlines()[0]) from None
    for array in tensors.values():
        if not np.array_equal(array, rounded(array, format_named(dtype))):
            raise NotOffered(f"{peer} shows tensors that are not {dtype}")
    return tensors


def verify(found: list[Case], peers: list[str]) -> tuple[list[tuple[str, ...]], list[str]]:
    """One row for each network, runtime and arithmetic; and the rejections."""
    rows, rejected = [], []
    for network in dict.fromkeys(case.network for case in found):
        for peer in peers:
            for dtype in DTYPES:
                row, wrong = _verify(peer, dtype, [c for c in found if c.network == network])
                rows += [row] if row else []
                rejected += wrong
    return rows, rejected


def _verify(peer: str, dtype: str, found: list[Case]) -> tuple[tuple[str, ...] | None, list[str]]:
    used = dict.fromkeys(CHECKS, 0.0)
    rejected, output, shown = [], 0.0, 0
    for case in found:
        try:
            tensors = tensors_of(peer, case, dtype)
        except NotOffered as reason:
            notice(f"{case.network}, {peer}, {dtype}: skipped ({reason})")
            return None, []
        result = sr.compare(
            case.net, case.params, case.x, tensors, dtype, winograd=WINOGRAD.get(peer)
        )
        if not result.agrees:
            rejected.append(f"{case.network}, {peer}, {dtype}, {case.image}: {result}")
        for report in result.tensors.values():
            for check in used:
                used[check] = max(used[check], report.worst[check].used)
        output = max(output, result.tensors[case.net.output].worst["end to end"].used)
        shown = len(tensors)
    name, verdict = found[0].network, "REJECTED" if rejected else "accepted"
    shares = [f"{share:.0%}" for share in (*used.values(), output)]
    return (name, peer, dtype, str(shown), str(len(found)), *shares, verdict), rejected


def calibrate(found: list[Case], peers: list[str]) -> dict[str, dict[str, object]]:
    """Errors of all tensors in standard deviations: counts between `EDGES`, and the largest."""
    table: dict[str, dict[str, object]] = {}

    def add(label: str, case: Case, tensors: Tensors, arithmetic: Arithmetic) -> None:
        values = deviations(case, tensors, arithmetic)
        row = table.setdefault(label, {"counts": np.zeros(len(EDGES) - 1, int), "largest": 0.0})
        row["counts"] = row["counts"] + np.histogram(values, EDGES)[0]
        row["largest"] = max(float(row["largest"]), float(values.max()))  # type: ignore[arg-type]

    for case in found:
        for dtype in DTYPES:
            for peer in peers:
                try:
                    tensors = tensors_of(peer, case, dtype)
                except NotOffered:
                    continue
                arithmetic = Arithmetic(dtype, winograd=WINOGRAD.get(peer))
                add(f"{peer}, {dtype}", case, tensors, arithmetic)
            for order in simulated.ORDERS:
                tensors = simulated.forward(case.net, case.params, case.x, order, dtype)
                add(f"simulated, {order}, {dtype}", case, tensors, Arithmetic(dtype))
    return table


def deviations(case: Case, tensors: Tensors, arithmetic: Arithmetic) -> Array:
    """Distance of each element from the exact values, end to end, in standard deviations."""
    model = prepare(case.net, case.params, arithmetic)
    found = []
    for name, tensor in walk(model, case.x, {}, (2,)):
        if name in tensors and name != "input":
            low = np.minimum(tensor.exact, tensor.stored)
            high = np.maximum(tensor.exact, tensor.stored)
            outside = np.maximum(np.maximum(low - tensors[name], tensors[name] - high), 0.0)
            sigma = np.maximum(tensor.deviation(2) / SIGMAS, np.finfo(float).tiny)
            found.append((outside / sigma).ravel())
    return np.concatenate(found)


def print_histogram(table: dict[str, dict[str, object]]) -> None:
    """Print the shares of elements between the edges; a dot where there are none."""
    columns = ("implementation", *(f"<= {edge:g}" for edge in EDGES[1:]), "largest")
    rows = []
    for label, row in table.items():
        counts = np.asarray(row["counts"])
        cells = [f"{n / counts.sum():.2g}" if n else "." for n in counts]
        rows.append((label, *cells, f"{row['largest']:.2f}"))
    print_table("Errors in standard deviations: shares of all elements", columns, rows)
    largest = max(float(f"{row['largest']:.3f}") for row in table.values())
    print(f"largest {largest}; {SIGMAS:g} are allowed, {SIGMAS / largest:.2f} times as many")


def print_bounds(case: Case) -> None:
    """Print each tensor's largest error in float32 and the largest of each kind of bound."""
    exact_params: Params = {name: array.astype(np.float64) for name, array in case.params.items()}
    exact = sr.forward(case.net, exact_params, case.x.astype(np.float64))
    made = sr.forward(case.net, case.params, case.x)
    kinds = ("guaranteed", "statistical", "carried")
    bounds = {kind: sr.error_bounds(case.net, case.params, case.x, kind=kind) for kind in kinds}
    rows = [
        (
            name,
            f"{np.abs(made[name] - exact[name]).max():.1e}",
            *(f"{bounds[kind][name].max():.1e}" for kind in kinds),
        )
        for name in made
    ]
    title = f"{case.network}, {case.image}: largest error of the reference and of each bound"
    print_table(title, ("tensor", "error", *kinds), rows)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="folder of images, the networks' input"
    )
    parser.add_argument("--size", type=int, default=96, help="rows and columns of each image")
    parser.add_argument("--images", type=int, default=3, help="largest number of photographs")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--runtimes", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--calibrate", action="store_true", help="print the histogram")
    parser.add_argument("--bounds", action="store_true", help="print errors and bounds")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser.parse_args()


def main() -> int:
    """Run the selected part; 1 if a runtime is rejected."""
    args = arguments()
    found = [
        case
        for case in cases(args.data, args.size, args.images)
        if case.network.partition(",")[0] in args.networks
    ]
    if args.bounds:
        print_bounds(found[0])
        return 0
    if args.calibrate:
        table = calibrate(found, args.runtimes)
        if args.json:
            print_json({name: _as_lists(row) for name, row in table.items()})
        else:
            print_histogram(table)
        return 0
    rows, rejected = verify(found, args.runtimes)
    if args.json:
        named = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        print_json({"rows": named, "rejected": rejected})
    else:
        print_table("Largest share of the bounds used", COLUMNS, rows)
        print("\n".join(rejected) or "all accepted")
    return 1 if rejected else 0


def _as_lists(row: dict[str, object]) -> dict[str, object]:
    return {key: np.asarray(value).tolist() for key, value in row.items()}


if __name__ == "__main__":
    sys.exit(main())
