"""Find the usual mistake that turns the right result into the candidate's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sesr_ref import network as nw
from sesr_ref.checks import layer_params
from sesr_ref.ops.arrays import Array
from sesr_ref.tiles import Span, Window
from sesr_ref.verify.bounds.model import Model, margin
from sesr_ref.verify.bounds.walk import SIGMAS, walk
from sesr_ref.verify.comparison.estimates import estimate
from sesr_ref.verify.comparison.faults import FAULTS, INPUT_FAULTS, RESULT_FAULTS
from sesr_ref.verify.comparison.faulty_convolutions import right
from sesr_ref.verify.comparison.tally import TensorReport

SIZE = 24
"""Input rows and columns on which faults are tried."""


class Fault(NamedTuple):
    """A mistake that reproduces the candidate: its layer and its name."""

    layer: str
    name: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.name}"


@dataclass(frozen=True)
class Case:
    """The part of a network before a wrong tensor, on a window around its worst element.

    `values` are the right values given the candidate's tensors `given`; a fault explains the
    candidate if they differ by at most `tolerance`.
    """

    model: Model
    target: str
    window: Window
    values: Mapping[str, Array]
    given: Mapping[str, Array]
    candidate: Array
    tolerance: float

    def steps(self) -> list[tuple[nw.Layer, tuple[str, ...]]]:
        """The layers between the given tensors and the target, starting with the target's."""
        needed, steps = {self.target}, []
        for layer, inputs in reversed(list(self.model.net.steps())):
            if layer.name in needed:
                steps.append((layer, inputs))
                needed |= {name for name in inputs if name not in self.given}
        return steps

    def target_with(self, changed: str, y: Array) -> Array:
        """The target if the tensor `changed` had the value `y`."""
        found = {changed: y}
        for layer, inputs in reversed(self.steps()):
            if layer.name != changed and any(name in found for name in inputs):
                x = [found.get(name, self.values[name]) for name in inputs]
                found[layer.name] = right(layer, x, layer_params(layer, self.model.params))
        return found.get(self.target, self.values[self.target])

    def misfit(self, y: Array, border: int = 0) -> float:
        """Largest deviation of `y` from the candidate in the window without its border."""
        error = np.abs(self.window.inside(y - self.candidate))
        return float(error[:, border : -border or None, border : -border or None].max(initial=0.0))


def diagnose(
    model: Model, x: Array, given: Mapping[str, Array], report: TensorReport
) -> Fault | None:
    """Find the fault that explains a wrong tensor best.

    Parameters
    ----------
    model : Model
        The right computation.
    x : (n, height, width, channels) float array
        The input.
    given : mapping of arrays
        The candidate's tensors.
    report : TensorReport
        Report on the first wrong tensor.

    Returns
    -------
    Fault or None
        None if no known fault reproduces the candidate within a few times its bound.
    """
    case = _case(model, x, given, report)
    plain = {border: case.misfit(case.values[case.target], border) for border in (0, 1)}
    for trials in (_mistakes, _estimates, _oddities):
        best, smallest = None, case.tolerance
        for fault, y, border in trials(case):
            if (misfit := case.misfit(y, border)) < min(smallest, plain[border] / 4):
                best, smallest = fault, misfit
        if best is not None:
            return best
    return None


def _case(model: Model, x: Array, given: Mapping[str, Array], report: TensorReport) -> Case:
    worst = report.worst[report.check].at
    assert worst is not None
    target = report.name
    ratio = given[target].shape[1] // x.shape[1]
    places = worst[1] // ratio, worst[2] // ratio
    rows, columns = (
        _around(place, size, 2 * margin(model))
        for place, size in zip(places, x.shape[1:3], strict=True)
    )
    window = Window(rows, columns).of(worst[0])
    part, *cut = (window.cut(a, x.shape[1]).astype(np.float64) for a in (x, *given.values()))
    before = dict(zip(given, cut, strict=True))
    candidate = before.pop(target)
    if not report.locally_wrong:
        before = {}
    values, tolerance = {}, 0.0
    for name, tensor in walk(model, part, before, (2,)):
        values[name] = before.get(name, tensor.exact)
        if name == target:
            scale = model.arithmetic.sums.unit * np.abs(candidate).max(initial=0.0)
            tolerance = 2 * float(tensor.bound(2).max(initial=0.0)) + SIGMAS * float(scale)
            break
    return Case(model, target, window, values, before, candidate, tolerance)


def _around(place: int, size: int, reach: int) -> Span:
    """Up to `SIZE` pixels of an axis around the given one."""
    start = max(0, min(place - SIZE // 2, size - SIZE))
    return Span.around(slice(start, min(start + SIZE, size)), reach, size)


Trial = tuple[Fault, Array, int]


def _mistakes(case: Case) -> Iterator[Trial]:
    """The target under each known fault, and how many border pixels to ignore."""
    for layer, inputs in case.steps():
        params = layer_params(layer, case.model.params)
        x = [case.values[name] for name in inputs]
        for name, faulty in FAULTS[type(layer)]:
            y = case.target_with(layer.name, faulty(layer, x, params))
            yield Fault(layer.name, name), y, 0
    if "input" not in case.given:
        for name, change in INPUT_FAULTS:
            y = case.target_with("input", change(case.values["input"]))
            yield Fault("input", name), y, 0
    for name, change in RESULT_FAULTS:
        yield Fault(case.target, name), change(case.values[case.target]), 1


def _estimates(case: Case) -> Iterator[Trial]:
    """The parameters that the target's own layer must have used."""
    known = {"input", *case.given}  # the input is known even if the candidate does not show it
    for layer, inputs in case.steps()[:1]:
        if all(name in known for name in inputs):
            x = [case.values[name] for name in inputs]
            params = layer_params(layer, case.model.params)
            if found := estimate(layer, x, params, case.candidate):
                yield Fault(layer.name, found[0]), found[1], 0


def _oddities(case: Case) -> Iterator[Trial]:
    """The target with a constant factor, with a constant added, or another layer's tensor."""
    y = case.values[case.target]
    inside, candidate = case.window.inside(y), case.window.inside(case.candidate)
    if energy := float(np.vdot(inside, inside)):
        factor = float(np.vdot(inside, candidate)) / energy
        yield Fault(case.target, f"scaled by {factor:.6g}"), factor * y, 0
    offset = float((candidate - inside).mean())
    yield Fault(case.target, f"{offset:+.6g} added"), y + offset, 0
    yield from _other_tensors(case)


def _other_tensors(case: Case) -> Iterator[Trial]:
    """Another layer's tensor under this name."""
    for name, value in case.values.items():
        if name != case.target and value.shape == case.values[case.target].shape:
            yield Fault(case.target, f"holds {name!r} instead"), value, 0
