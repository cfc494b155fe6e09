"""Judge a port in integers by its own tensors, layer by layer, in every arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref import network as nw
from sesr_ref.checks import check_primitive
from sesr_ref.collapse import collapsed
from sesr_ref.integers.arithmetic import ARITHMETICS
from sesr_ref.integers.grid import Integers, Quantization
from sesr_ref.integers.parameters import IntegerParams, check_integer_params
from sesr_ref.integers.rules import Site, codes_of, site_of
from sesr_ref.limits import check, listed, shown
from sesr_ref.verify.integers.faults import codes_with

MOST_SHARE = 0.5
"""Of a layer's wrong values that a cause must explain to be named a likely one."""


@dataclass(frozen=True)
class LayerVerdict:
    """One layer, computed anew from the port's own inputs.

    `equal_in` are the arithmetics in which it is the port's; `differing` counts values that are not
    in the arithmetic of the verdict, `at` is the first of them, `expected` and `got` its values.
    """

    name: str
    values: int
    equal_in: tuple[str, ...]
    differing: int = 0
    at: tuple[int, ...] | None = None
    expected: int | None = None
    got: int | None = None
    cause: str = ""


@dataclass(frozen=True)
class PortVerdict:
    """Result of `judge_port`: each layer in the network's order.

    `arithmetics` are those in which all layers are equal; if there is none, `nearest` is the one
    with the most equal layers, which the counts are of.  `unseen` could not be judged, since the
    port does not show them or what they read.
    """

    arithmetics: tuple[str, ...]
    nearest: str
    layers: tuple[LayerVerdict, ...]
    unseen: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether every layer that is shown is exact in one arithmetic."""
        return bool(self.arithmetics)

    @property
    def first_wrong(self) -> LayerVerdict | None:
        """The first layer that is not exact in the nearest arithmetic."""
        return next((layer for layer in self.layers if layer.differing), None)

    def __str__(self) -> str:
        """Give the verdict in one line."""
        values = sum(layer.values for layer in self.layers)
        if self.agrees:
            names = " and ".join(self.arithmetics)
            return (
                f"equal: {values} values of {len(self.layers)} layers, in the arithmetic of {names}"
            )
        wrong = self.first_wrong
        assert wrong is not None
        return (
            f"{wrong.name} is the first layer that differs from {self.nearest}: {wrong.differing} "
            f"of {wrong.values} values, first at {wrong.at}: {wrong.got} instead of "
            f"{wrong.expected}; {wrong.cause or 'no known cause gives these values'}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self) | {"agrees": self.agrees, "verdict": str(self)}


def judge_port(
    net: nw.Network,
    iparams: IntegerParams,
    q: Quantization,
    tensors: Mapping[str, npt.NDArray[Any]],
) -> PortVerdict:
    """Compute each layer of a port anew from the port's own inputs, and say what it computes.

    A layer's inputs are the port's, so that one wrong layer does not make those behind it wrong.

    Parameters
    ----------
    net, iparams, q
        As `sesr_ref.load_quantized` returns them.
    tensors : mapping of (n, height, width, channels) integer arrays
        The port's codes by the names of the collapsed network's tensors, "input" among them.  A
        tensor that is not there leaves those unjudged that read it; accumulators (32 bits) are
        computed if they are not there.

    Returns
    -------
    PortVerdict

    Raises
    ------
    ValueError
        If parameters or grids do not fit, a tensor is unknown, or its shape or codes are not those
        of its grid; or no layer can be judged.
    """
    small = collapsed(net)
    check_primitive(small)
    check_integer_params(small, iparams, q)
    wide: dict[str, Integers] = {k: v.astype(np.int64) for k, v in iparams.items()}
    seen = _checked(small, q, tensors)
    judged: list[tuple[nw.Layer, Site, Integers]] = []
    unseen = []
    start = next(iter(ARITHMETICS.values()))
    for layer, inputs in small.steps():
        if layer.name in seen and all(name in seen for name in inputs):
            site = site_of(layer, inputs, [seen[i] for i in inputs], wide, q, start)
            judged.append((layer, site, seen[layer.name]))
        elif q.tensors[layer.name].bits == 32 and all(name in seen for name in inputs):
            site = site_of(layer, inputs, [seen[i] for i in inputs], wide, q, start)
            seen[layer.name] = codes_of(layer, site)
        else:
            unseen.append(layer.name)
    check(judged, "the tensors", f"a layer's output and its inputs of {net.name}", sorted(seen))
    return _verdict(judged, tuple(unseen))


def _checked(
    net: nw.Network, q: Quantization, tensors: Mapping[str, npt.NDArray[Any]]
) -> dict[str, Integers]:
    check("input" in tensors, "the port's tensors", "given with 'input' among them", list(tensors))
    given = tensors["input"]
    check(given.ndim == 4 and given.size, "input", "(n, height, width, channels)", given)
    shapes = net.shapes(given.shape[1], given.shape[2])
    for name, codes in tensors.items():
        if name not in shapes:
            raise ValueError(f"{net.name} has no tensor {shown(name)}; known: {listed(shapes)}")
        needed = (given.shape[0], *shapes[name])
        check(codes.dtype.kind == "i", name, "integers with a sign", codes)
        check(codes.shape == needed, f"{name}: the shape", f"{needed}", codes.shape)
        grid = q.tensors[name]
        within = grid.low <= codes.min() and codes.max() <= grid.high
        check(within, name, f"within {grid.low}..{grid.high}", (codes.min(), codes.max()))
    return {name: codes.astype(np.int64) for name, codes in tensors.items()}


def _verdict(judged: list[tuple[nw.Layer, Site, Integers]], unseen: tuple[str, ...]) -> PortVerdict:
    off = {layer.name: _differing(layer, site, got) for layer, site, got in judged}
    every = tuple(name for name in ARITHMETICS if all(not found[name] for found in off.values()))

    def distance(name: str) -> tuple[int, float]:
        """Layers, and then values, that are not as this arithmetic has them."""
        counts = [found[name] for found in off.values()]
        return sum(map(bool, counts)), sum(counts)

    used = every[0] if every else min(ARITHMETICS, key=distance)
    layers = tuple(_layer(layer, site, got, off[layer.name], used) for layer, site, got in judged)
    return PortVerdict(every, used, layers, unseen)


def _differing(layer: nw.Layer, site: Site, got: Integers) -> dict[str, float]:
    """How many of a layer's values each arithmetic has otherwise."""
    found = {}
    for name, arithmetic in ARITHMETICS.items():
        try:
            made = codes_of(layer, site._replace(arithmetic=arithmetic))
        except ValueError:  # scales that this arithmetic cannot have
            found[name] = math.inf
            continue
        found[name] = float(np.count_nonzero(made != got))
    return found


def _layer(
    layer: nw.Layer, site: Site, got: Integers, off: Mapping[str, float], used: str
) -> LayerVerdict:
    equal_in = tuple(name for name, count in off.items() if not count)
    if used in equal_in:
        return LayerVerdict(layer.name, got.size, equal_in)
    right = site._replace(arithmetic=ARITHMETICS[used])
    want = codes_of(layer, right)
    wrong = want != got
    at = tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))
    cause = f"it is exact in {' and '.join(equal_in)}" if equal_in else _cause(layer, right, got)
    count = int(np.count_nonzero(wrong))
    return LayerVerdict(
        layer.name, got.size, equal_in, count, at, int(want[at]), int(got[at]), cause
    )


def _cause(layer: nw.Layer, site: Site, got: Integers) -> str:
    """The first fault that gives the port's values, or the one that gives the most of them."""
    want = codes_of(layer, site)
    wrong = want != got
    best, share = "", 0.0
    for arithmetic in (site.arithmetic, *ARITHMETICS.values()):
        own = site._replace(arithmetic=arithmetic)
        for fault, codes in codes_with(layer, own):
            if codes.shape == got.shape and np.array_equal(codes, got):
                return f"it {fault.text}"
            if arithmetic is site.arithmetic and codes.shape == got.shape:
                explained = np.count_nonzero((codes == got) & wrong) / np.count_nonzero(wrong)
                if explained > max(share, MOST_SHARE):
                    best, share = fault.text, float(explained)
    if best:
        return f"perhaps it {best} ({share:.0%} of the wrong values)"
    return _where(wrong, want - got)


def _where(wrong: npt.NDArray[np.bool_], off: Integers) -> str:
    """What the places of the wrong values have in common."""
    channels = np.flatnonzero(wrong.any((0, 1, 2)))
    if len(channels) == 1 and wrong.shape[3] > 1:
        return f"only channel {channels[0]} differs: look at its multiplier, bias and weights"
    inner = wrong[:, 2:-2, 2:-2]
    if inner.size and not inner.any():
        return "only the border differs: look at the padding"
    if np.abs(off).max() == 1:
        return "no value is off by more than 1: look at the rounding"
    return ""
