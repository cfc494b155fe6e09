"""Realistic faults injected into a correct float32 implementation.

Written apart from `sesr_ref.verify.comparison.faults`, which names faults, so that the one checks
the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import sesr_ref as sr
from sesr_ref.checks import layer_params
from sesr_ref.execute import RULES

Array = npt.NDArray[Any]
Tensors = dict[str, Array]
Change = Callable[[Sequence[Array], dict[str, Array], Callable[..., Array]], Array]
"""``(inputs, params, compute) -> y``; ``compute(inputs, params)`` is the right layer."""


@dataclass(frozen=True)
class Mutant:
    """A fault in one layer; `named` must occur in the diagnosis, "" if it need not be named."""

    name: str
    layer: str
    change: Change
    named: str = ""


def run(net: sr.Network, params: dict[str, Array], x: Array, mutant: Mutant | None) -> Tensors:
    """All tensors of a float32 implementation with a fault."""
    tensors = {"input": x}
    if mutant is not None and mutant.layer == "input":
        tensors["input"] = np.ascontiguousarray(mutant.change([x], {}, lambda inputs, p: inputs[0]))
    for layer, inputs in net.steps():
        own = layer_params(layer, params)
        values = [tensors[name] for name in inputs]

        def compute(inputs: Sequence[Array], p: dict[str, Array], layer: Any = layer) -> Array:
            return RULES[type(layer)].forward(layer, sr.REFERENCE, inputs, p)

        faulty = mutant is not None and mutant.layer == layer.name
        y = mutant.change(values, own, compute) if faulty and mutant else compute(values, own)
        tensors[layer.name] = np.ascontiguousarray(y, np.float32)
    return tensors


def _weight(change: Callable[[Array], Array]) -> Change:
    return lambda x, p, f: f(x, p | {"weight": np.ascontiguousarray(change(p["weight"]))})


def _one_weight(index: tuple[int, ...], factor: float) -> Change:
    def change(weight: Array) -> Array:
        weight = weight.copy()
        weight[index] *= factor
        return weight

    return _weight(change)


def _slope(change: Callable[[Array], Array]) -> Change:
    return lambda x, p, f: f(x, p | {"slope": change(p["slope"]).astype(np.float32)})


def _result(change: Callable[[Array], Array]) -> Change:
    return lambda x, p, f: change(f(x, p).copy())


def _set(index: Any, value: Callable[[Array], Any]) -> Change:
    def change(y: Array) -> Array:
        y[index] = value(y)
        return y

    return _result(change)


def _identity(weight: Array) -> Array:
    eye = np.zeros_like(weight)
    eye[len(weight) // 2, len(weight) // 2] = np.eye(weight.shape[2], weight.shape[3])
    return eye


def _padded(mode: Any) -> Change:
    def change(x: Sequence[Array], p: dict[str, Array], f: Callable[..., Array]) -> Array:
        k = len(p["weight"]) // 2
        wide = np.pad(x[0], ((0, 0), (k, k), (k, k), (0, 0)), mode=mode)
        return f([wide], p)[:, k:-k, k:-k]

    return change


def _padding_off_by_one(x: Sequence[Array], p: dict[str, Array], f: Callable[..., Array]) -> Array:
    below = np.pad(x[0], ((0, 0), (0, 1), (0, 1), (0, 0)))
    return f([below], p)[:, 1:, 1:]


def _shuffle(order: tuple[int, ...], split: Callable[[int], tuple[int, int, int]]) -> Change:
    def change(x: Sequence[Array], p: dict[str, Array], f: Callable[..., Array]) -> Array:
        n, h, w, c = x[0].shape
        y = x[0].reshape(n, h, w, *split(c)).transpose(order)
        return y.reshape(n, 2 * h, 2 * w, c // 4)

    return change


def _from_bytes(layout: str) -> Callable[[Array], Array]:
    """HWIO bytes taken for another layout."""

    def change(weight: Array) -> Array:
        sizes = dict(zip("HWIO", weight.shape, strict=True))
        read = weight.reshape([sizes[axis] for axis in layout])
        return read.transpose([layout.index(axis) for axis in "HWIO"])

    return change


def _in_bfloat16(y: Array) -> Array:
    bits = y.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32)


def _cut_to_bfloat16(y: Array) -> Array:
    return (y.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def _dropped(i: int) -> Change:
    return lambda x, p, f: f([a * (j != i) for j, a in enumerate(x)], p)


SESR = [
    Mutant("kernel flipped", "block1", _weight(lambda w: w[::-1, ::-1]), "flipped"),
    Mutant("kernel flipped, 5 x 5", "head", _weight(lambda w: w[::-1, ::-1]), "flipped"),
    Mutant("kernel transposed", "block2", _weight(lambda w: w.swapaxes(0, 1)), "swapped"),
    Mutant("in and out channels swapped", "block0", _weight(lambda w: w.swapaxes(2, 3)), "swapped"),
    Mutant("HWIO bytes as OIHW", "block3", _weight(_from_bytes("OIHW")), "read as OIHW"),
    Mutant("HWIO bytes as OHWI", "tail", _weight(_from_bytes("OHWI")), "read as OHWI"),
    Mutant("HWIO bytes as IHWO", "block4", _weight(_from_bytes("IHWO")), "read as IHWO"),
    Mutant("output channels reversed", "block1", _weight(lambda w: w[..., ::-1]), "reversed"),
    Mutant(
        "two output channels swapped",
        "block1",
        _weight(lambda w: w[..., [1, 0, *range(2, w.shape[3])]]),
        "weights differ",
    ),
    Mutant("one weight 1 % off", "block2", _one_weight((1, 1, 3, 3), 1.01), "1 of"),
    Mutant("one weight zero", "block0", _one_weight((0, 2, 5, 9), 0.0), "1 of"),
    Mutant("one weight's sign", "tail", _one_weight((2, 2, 7, 1), -1.0), "1 of"),
    Mutant("one weight 0.1 % off in the head", "head", _one_weight((2, 2, 0, 4), 1.001), "1 of"),
    Mutant("weights rounded to bfloat16", "block3", _weight(_in_bfloat16), "weights differ"),
    Mutant(
        "weights rounded to float16",
        "block3",
        _weight(lambda w: w.astype(np.float16).astype(np.float32)),
        "weights differ",
    ),
    Mutant(
        "weights quantised to 8 bits",
        "block3",
        _weight(lambda w: np.rint(w / np.abs(w).max() * 127) * (np.abs(w).max() / 127)),
        "weights differ",
    ),
    Mutant(
        "short residual missing", "block1", _weight(lambda w: w - _identity(w)), "residual missing"
    ),
    Mutant(
        "short residual twice",
        "block3",
        _weight(lambda w: w + _identity(w)),
        "residual added twice",
    ),
    Mutant("long residual missing", "features", _dropped(1), "operand 1 missing"),
    Mutant("body missing", "features", _dropped(0), "operand 0 missing"),
    Mutant("input residual missing", "subpixels", _dropped(1), "operand 1 missing"),
    Mutant(
        "input residual subtracted",
        "subpixels",
        lambda x, p, f: x[0] - x[1],
        "operand 1 subtracted",
    ),
    Mutant(
        "input residual to one subpixel",
        "subpixels",
        lambda x, p, f: x[0] + x[1] * np.eye(1, x[0].shape[3], dtype=np.float32),
        "first channel only",
    ),
    Mutant(
        "long residual twice", "features", lambda x, p, f: x[0] + 2 * x[1], "operand 1 added twice"
    ),
    Mutant("border repeated", "head", _padded("edge"), "repeated"),
    Mutant("border mirrored", "block2", _padded("reflect"), "mirrored"),
    Mutant("border wrapped", "block0", _padded("wrap")),
    Mutant("border off by one", "block1", _padding_off_by_one, "off by one"),
    Mutant(
        "border left out",
        "tail",
        _result(lambda y: np.pad(y[:, 2:-2, 2:-2], ((0, 0), (2, 2), (2, 2), (0, 0)))),
        "left out",
    ),
    Mutant(
        "one pixel row shifted", "block2", _set((slice(None), 7), lambda y: np.roll(y[:, 7], 1, 1))
    ),
    Mutant(
        "everything shifted by a column", "act3", _result(lambda y: np.roll(y, 1, 2)), "columns"
    ),
    Mutant("last row missing", "block4", _set((slice(None), -1), lambda y: 0.0)),
    Mutant(
        "last column repeated", "tail", _set((slice(None), slice(None), -1), lambda y: y[:, :, -2])
    ),
    Mutant(
        "every 8th column wrong",
        "block0",
        _set(
            (slice(None), slice(None), slice(7, None, 8)),
            lambda y: y[:, :, 6::8][:, :, : len(range(7, y.shape[2], 8))],
        ),
    ),
    Mutant("one pixel wrong", "act1", _set((0, 4, 9, 2), lambda y: y[0, 4, 9, 2] + 1e-3)),
    Mutant(
        "one channel swapped with its neighbour",
        "block3",
        _result(lambda y: y[..., [0, 2, 1, *range(3, y.shape[3])]]),
        "weights differ",
    ),
    Mutant("channels reversed", "act2", _result(lambda y: y[..., ::-1]), "reversed"),
    Mutant("one channel zero", "block2", _set((..., 5), lambda y: 0.0)),
    Mutant("slopes 2 % off", "act0", _slope(lambda s: s * 1.02), "slope"),
    Mutant("slopes ignored", "act1", _slope(lambda s: s * 0), "ReLU"),
    Mutant("activation missing", "act4", lambda x, p, f: x[0], "missing"),
    Mutant("one slope for all", "act2", _slope(lambda s: np.full_like(s, s[0])), "first channel"),
    Mutant("slope 0.25 for all", "act3", _slope(lambda s: np.full_like(s, 0.25)), "0.25"),
    Mutant("slopes of the neighbours", "act0", _slope(lambda s: np.roll(s, 1)), "off by one"),
    Mutant(
        "one slope's sign",
        "act2",
        _slope(lambda s: s * np.where(np.arange(len(s)) == 3, -1, 1)),
        "slope",
    ),
    Mutant("ReLU after the tail", "tail", _result(lambda y: np.maximum(y, 0)), "ReLU"),
    Mutant(
        "activation ahead of the residual",
        "features",
        lambda x, p, f: np.maximum(x[0] + x[1], 0),
        "ReLU",
    ),
    Mutant(
        "depth-to-space, rows and columns swapped",
        "shuffle0",
        _shuffle((0, 1, 4, 2, 3, 5), lambda c: (2, 2, c // 4)),
        "swapped",
    ),
    Mutant("tensor kept in bfloat16", "act2", _result(_in_bfloat16)),
    Mutant("tensor cut to bfloat16", "act2", _result(_cut_to_bfloat16)),
    Mutant(
        "tensor kept in float16",
        "block2",
        _result(lambda y: y.astype(np.float16).astype(np.float32)),
    ),
    Mutant(
        "output rounded to 8 bits",
        "shuffle0",
        _result(lambda y: np.rint(np.clip(y, 0, 1) * 255) / 255),
        "8 bits",
    ),
    Mutant(
        "output cut off to 8 bits",
        "shuffle0",
        _result(lambda y: np.floor(np.clip(y, 0, 1) * 255) / 255),
        "8 bits",
    ),
    Mutant(
        "output 0.01 % brighter",
        "subpixels",
        _result(lambda y: y * np.float32(1.0001)),
        "scaled by 1.0001",
    ),
    Mutant("output 1e-5 too high", "subpixels", _result(lambda y: y + np.float32(1e-5)), "added"),
    Mutant("input 0..255", "input", lambda x, p, f: x[0] * 255, "0..255"),
    Mutant("input divided by 256", "input", lambda x, p, f: x[0] * np.float32(255 / 256), "256"),
    Mutant("Y full range", "input", lambda x, p, f: (x[0] * 255 - 16) / 219, "full range"),
    Mutant(
        "Y studio range twice", "input", lambda x, p, f: (x[0] * 219 + 16) / 255, "studio range"
    ),
    Mutant("input shifted", "input", lambda x, p, f: x[0] - 0.5, "shifted by -0.5"),
    Mutant("image mirrored", "input", lambda x, p, f: x[0][:, :, ::-1], "mirrored"),
]
"""For ``sesr(5)`` at x2, collapsed."""
