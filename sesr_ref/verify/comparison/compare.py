"""Decide whether a candidate is right and, if not, from which layer on and by how much.

The image is processed in tiles with their exact halo, so that memory does not grow with it.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from sesr_ref import network as nw
from sesr_ref.checks import check_input
from sesr_ref.limits import whole_number
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.receptive import padded_tensors
from sesr_ref.tiles import Window, windows
from sesr_ref.verify.bounds.arithmetic import Arithmetic
from sesr_ref.verify.bounds.model import Model, margin, prepare
from sesr_ref.verify.bounds.walk import walk
from sesr_ref.verify.comparison.candidates import Candidate, read_candidate
from sesr_ref.verify.comparison.diagnose import Fault, diagnose
from sesr_ref.verify.comparison.notes import notes_on, unseen_between
from sesr_ref.verify.comparison.tally import CHECKS, Allowed, TensorReport, add_piece

TILE = 192
"""Input rows and columns of a tile: takes a few hundred megabytes for 64 channels."""
MOST_NAMED = 6
"""Largest number of tensors to name in a message."""


@dataclass(frozen=True)
class Comparison:
    """The verdict on a candidate.

    Attributes
    ----------
    agrees : bool
        Whether every tensor is within its bounds.
    first_wrong : str or None
        The first given tensor, in order of execution, that is wrong given its own inputs.
    fault : Fault or None
        A usual mistake that reproduces the candidate.
    tensors : dict
        Each given tensor's `TensorReport`.
    missing : tuple of str
        Tensors that the candidate does not show.
    unseen : tuple of str
        Missing tensors in which the mistake may lie instead of in `first_wrong`: those between it
        and the tensors shown before it.
    notes : tuple of str
        Further remarks, such as that the input hides most mistakes.
    """

    agrees: bool
    first_wrong: str | None
    fault: Fault | None
    tensors: dict[str, TensorReport]
    missing: tuple[str, ...]
    unseen: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "agrees": self.agrees,
            "first_wrong": self.first_wrong,
            "fault": None if self.fault is None else self.fault._asdict(),
            "tensors": {name: report.to_dict() for name, report in self.tensors.items()},
            "missing": list(self.missing),
            "unseen": list(self.unseen),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return "\n".join([self._verdict(), *(f"note: {note}" for note in self.notes)])

    def _verdict(self) -> str:
        if self.agrees:
            used = max(report.worst[CHECKS[2]].used for report in self.tensors.values())
            return f"agrees: at most {used:.0%} of an end-to-end bound is used"
        assert self.first_wrong is not None
        report = self.tensors[self.first_wrong]
        worst = report.worst[report.check]
        what = f"; {self.fault}" if self.fault else ""
        return (
            f"differs: {report.name} is the first wrong tensor{self._origin()} at {worst.at} it "
            f"is {worst.candidate!r} instead of {worst.reference!r} +- {worst.bound:.2g} "
            f"({report.check}){what}"
        )

    def _origin(self) -> str:
        if not self.unseen:
            return ":"
        many = len(self.unseen) > MOST_NAMED
        names = f"one of {len(self.unseen)} before it" if many else ", ".join(self.unseen)
        return f" shown; the mistake is there or in {names} (not shown);"


def compare(
    net: nw.Network,
    params: Params,
    x: Array,
    candidate: Candidate,
    dtype: str = "float32",
    accumulate: str = "float32",
    winograd: tuple[int, int] | None = None,
    fused: bool = True,
    tile: int = TILE,
    name_fault: bool = True,
) -> Comparison:
    """Judge an implementation by its tensors.

    A tensor is judged twice: given the candidate's own inputs, as far as it shows them, by the
    guaranteed and statistical bounds of `error_bounds`; and end to end from the network's input, by
    the statistical bound.

    Parameters
    ----------
    net, params
        A network and its parameters; linear blocks are collapsed.  Apply `expanded` first to judge
        the tensors of an expanded implementation.
    x : (n, height, width, channels) float32 or float64 array
        The input.
    candidate : array, dict of arrays, or path
        The output; named tensors, the output among them; or a file or folder (.npy, .npz, raw
        little-endian .bin, a golden pack).  NHWC, NumPy floats of any width.
    dtype, accumulate, winograd
        The candidate's arithmetic, as in `error_bounds`.
    fused : bool
        Whether a layer may have read its inputs before they were rounded to the tensors shown, as
        in fused kernels and golden packs.  False is stricter: it can, for example, distinguish
        truncation from rounding in bfloat16.
    tile : int
        Input rows and columns to process at a time.
    name_fault : bool
        Whether to search for a usual mistake that explains a wrong candidate (takes seconds).

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If parameters, input, or a tensor's name or shape do not fit the network, or numbers are not
        finite.
    OSError
        If the candidate's files cannot be read.
    """
    model = prepare(net, params, Arithmetic(dtype, accumulate, winograd, fused))
    check_input(model.net, x)
    tile = whole_number("a tile", tile)
    with ExitStack() as stack:
        given = read_candidate(model.net, x.shape, candidate, dtype, stack)
        between = padded_tensors(model.net) & given.keys()
        given = {name: array for name, array in given.items() if name not in between}
        reports = {name: TensorReport(name) for name in given}
        count, height, width, _ = x.shape
        for image in range(count):
            for window in windows(height, width, (tile, tile), margin(model)):
                _compare_window(model, x, given, window.of(image), reports)
        first, fault = _judge(reports), None
        notes = notes_on(x, given, dtype, first is None)
        if between:
            names = ", ".join(sorted(between)[:MOST_NAMED])
            notes = (*notes, f"not compared, since padded inside a block: {names}")
        if first is not None and name_fault:
            fault = diagnose(model, x, given, reports[first])
    missing = tuple(layer.name for layer in model.net.layers if layer.name not in given)
    unseen: tuple[str, ...] = ()
    if first is not None and reports[first].locally_wrong:
        unseen = unseen_between(model.net, first, given)
    return Comparison(first is None, first, fault, reports, missing, unseen, notes)


def _judge(reports: dict[str, TensorReport]) -> str | None:
    """Write the verdicts, and return the name of the first wrong tensor."""
    wrong = [name for name, report in reports.items() if report.used > 1]
    locally = [name for name in wrong if reports[name].locally_wrong]
    for name in wrong:
        reports[name].verdict = "follows" if locally else "drifts"
    for name in locally:
        reports[name].verdict = "differs"
    return next(iter(locally or wrong), None)


def _compare_window(
    model: Model,
    x: Array,
    given: dict[str, Array],
    window: Window,
    reports: dict[str, TensorReport],
) -> None:
    part, *cut = (window.cut(a, x.shape[1]).astype(np.float64) for a in (x, *given.values()))
    pieces = dict(zip(given, cut, strict=True))
    alone = len(given) == 1  # only the output is given: no inner tensor to restart from
    local_walk = walk(model, part, {} if alone else pieces, (1, 2))
    exact_walk = local_walk if alone else walk(model, part, {}, (2,))
    for name, tensor in exact_walk:
        local = tensor if alone else next(local_walk)[1]
        if name in pieces:
            values = [
                (local.exact, local.exact, local.deviation(1)),
                (local.exact, local.stored, local.deviation(2)),
                (tensor.exact, tensor.stored, tensor.deviation(2)),
            ]
            allowed = [Allowed(*(window.inside(a) for a in arrays)) for arrays in values]
            add_piece(
                reports[name],
                window.inside(pieces[name]),
                allowed[2].exact,
                dict(zip(CHECKS, allowed, strict=True)),
                window.start(pieces[name]),
                model.arithmetic.storage,
            )
