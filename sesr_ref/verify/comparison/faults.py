"""The usual mistakes, each as a function that computes the layer with the mistake.

A fault is tried by computing the layer with it from the candidate's own inputs; it is named if that
reproduces the candidate.  ``FAULTS[kind]`` is a table of name and ``(layer, inputs, params) -> y``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from sesr_ref import network as nw
from sesr_ref.ops import pointwise, rearrange, stencil
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.resampling import MODES
from sesr_ref.verify.comparison.faulty_convolutions import (
    BORDERS,
    Faulty,
    Named,
    convolution_faults,
    right,
)


def _slopes(change: Callable[[Array], Array]) -> Faulty:
    def faulty(layer: nw.Layer, x: Sequence[Array], params: Params) -> Array:
        slope = params.get("slope", np.full(x[0].shape[3], getattr(layer, "slope", 0.0)))
        return pointwise.prelu(x[0], np.broadcast_to(change(slope), slope.shape))

    return faulty


ACTIVATION: list[Named] = [
    ("activation missing", lambda layer, x, p: x[0]),
    ("slopes ignored (ReLU)", _slopes(lambda s: s * 0)),
    ("slope 0.01 (LeakyReLU's usual one)", _slopes(lambda s: s * 0 + 0.01)),
    ("slope 0.1", _slopes(lambda s: s * 0 + 0.1)),
    ("slope 0.2", _slopes(lambda s: s * 0 + 0.2)),
    ("slope 0.25 (PReLU's initial one in PyTorch)", _slopes(lambda s: s * 0 + 0.25)),
    ("the first channel's slope for all", _slopes(lambda s: s[:1])),
    ("the mean slope for all", _slopes(lambda s: s.mean(keepdims=True))),
    ("slopes of the wrong channels (reversed)", _slopes(lambda s: s[::-1])),
    ("slopes of the wrong channels (off by one)", _slopes(lambda s: np.roll(s, 1))),
    ("slopes of the wrong channels (off by minus one)", _slopes(lambda s: np.roll(s, -1))),
    ("slopes negated", _slopes(lambda s: -s)),
    ("absolute value", _slopes(lambda s: s * 0 - 1)),
    ("slope on the positive side", lambda layer, x, p: -_slopes(lambda s: s)(layer, [-x[0]], p)),
]


def _add_faults(count: int) -> Iterator[Named]:
    for i in range(count):
        weights = {
            f"operand {i} missing": 0.0,
            f"operand {i} subtracted": -1.0,
            f"operand {i} added twice": 2.0,
        }
        for name, factor in weights.items():
            yield name, _scaled_operand(i, factor)


def _scaled_operand(i: int, factor: float) -> Faulty:
    def faulty(layer: nw.Layer, x: Sequence[Array], params: Params) -> Array:
        if i >= len(x):
            return right(layer, x, params)
        return right(layer, [a * factor if j == i else a for j, a in enumerate(x)], params)

    return faulty


def _broadcast_to_first(layer: nw.Layer, x: Sequence[Array], params: Params) -> Array:
    """Add a one-channel operand to one channel instead of all."""
    only = np.eye(1, x[0].shape[3])[0]
    return pointwise.add(*(a if a.shape == x[0].shape else a * only for a in x))


def _shuffles(layer: nw.DepthToSpace, x: Array) -> dict[str, Array]:
    block, n, height, width = layer.block, *x.shape[:3]
    other = "CRD" if layer.mode == "DCR" else "DCR"
    y = rearrange.depth_to_space(x, block, layer.mode)
    subpixels = y.reshape(n, height, block, width, block, -1)
    found = {
        f"depth-to-space in mode {other}": rearrange.depth_to_space(x, block, other),
        "rows and columns of the subpixels swapped": subpixels.transpose(0, 1, 4, 3, 2, 5),
        "rows of the subpixels reversed": subpixels[:, :, ::-1],
        "columns of the subpixels reversed": subpixels[:, :, :, :, ::-1],
    }
    if height % block == 0 and width % block == 0:  # the second of two shuffles?
        before = rearrange.depth_to_space_vjp(x, block, layer.mode)
        for mode in ("DCR", "CRD"):
            whole = rearrange.depth_to_space(before, block**2, mode)
            found[f"one shuffle by {block**2} ({mode}) instead of two by {block}"] = whole
    return {name: z.reshape(y.shape) for name, z in found.items()}


def _shuffle_faults() -> Iterator[Named]:
    names = _shuffles(nw.DepthToSpace("x", 2), np.zeros((1, 2, 2, 4)))
    names |= _shuffles(nw.DepthToSpace("x", 2, "CRD"), np.zeros((1, 2, 2, 4)))
    for name in names:
        yield name, _shuffle(name)


def _shuffle(name: str) -> Faulty:
    def faulty(layer: nw.DepthToSpace, x: Sequence[Array], params: Params) -> Array:
        return _shuffles(layer, x[0]).get(name, right(layer, x, params))

    return faulty


def _resized(mode: str) -> Faulty:
    return lambda layer, x, params: rearrange.resize(x[0], layer.upscale, mode)


SMOOTH: list[Named] = [
    ("activation missing", lambda layer, x, p: x[0]),
    ("ReLU instead", lambda layer, x, p: np.maximum(x[0], 0)),
    ("sigmoid instead", lambda layer, x, p: pointwise.sigmoid(x[0])),
    ("SiLU instead", lambda layer, x, p: pointwise.silu(x[0])),
    ("tanh instead", lambda layer, x, p: pointwise.tanh(x[0])),
    ("GELU by the error function instead", lambda layer, x, p: pointwise.gelu(x[0])),
    ("GELU by tanh instead", lambda layer, x, p: pointwise.gelu(x[0], "tanh")),
    ("hard sigmoid", lambda layer, x, p: np.clip(x[0] / 6 + 0.5, 0, 1)),
]


def _norm(squared: bool = False, eps: float | None = None, **changed: float) -> Faulty:
    def faulty(layer: nw.BatchNorm, x: Sequence[Array], params: Params) -> Array:
        own = params | {key: np.full_like(params[key], value) for key, value in changed.items()}
        if squared:
            own["var"] = own["var"] ** 2
        return pointwise.batch_norm(x[0], **own, eps=layer.eps if eps is None else eps)

    return faulty


def _taps(change: Callable[[Array], Array]) -> Faulty:
    def faulty(layer: nw.Stencil, x: Sequence[Array], params: Params) -> Array:
        taps = tuple(map(tuple, change(np.asarray(layer.taps, np.float64))))
        return stencil.stencil(x[0], taps, **params)

    return faulty


FAULTS: nw.Rules[list[Named]] = nw.Rules(
    {
        nw.Conv: [*convolution_faults(), *BORDERS],
        nw.ConvTranspose: convolution_faults(),
        nw.Pointwise: SMOOTH,
        nw.Gain: [
            ("gains left out", lambda layer, x, p: x[0]),
            ("the first channel's gain for all", lambda layer, x, p: x[0] * p["gain"][:1]),
            ("gains of the wrong channels (reversed)", lambda layer, x, p: x[0] * p["gain"][::-1]),
        ],
        nw.BatchNorm: [
            ("normalisation left out", lambda layer, x, p: x[0]),
            ("mean not subtracted", _norm(mean=0.0)),
            ("offset left out", _norm(offset=0.0)),
            ("scale left out", _norm(scale=1.0)),
            ("variance taken for the deviation", _norm(squared=True)),
            ("epsilon 1e-3", _norm(eps=1e-3)),
        ],
        nw.Stencil: [
            ("taps upside down", _taps(lambda taps: taps[::-1])),
            ("taps mirrored", _taps(lambda taps: taps[:, ::-1])),
            ("rows and columns of the taps swapped", _taps(lambda taps: taps.T)),
            ("factors left out", lambda layer, x, p: stencil.stencil(x[0], layer.taps)),
        ],
        nw.Multiply: [
            ("operands added", lambda layer, x, p: pointwise.add(*x)),
            ("first operand alone", lambda layer, x, p: x[0]),
            ("second operand squared", lambda layer, x, p: x[0] * 0 + x[1] * x[1]),
        ],
        nw.Slice: [
            ("the first channels", lambda layer, x, p: x[0][..., : layer.stop - layer.start]),
            ("the last channels", lambda layer, x, p: x[0][..., layer.start - layer.stop :]),
        ],
        nw.Pad: [("image off by one row", lambda layer, x, p: np.roll(right(layer, x, p), 1, 1))],
        nw.PReLU: ACTIVATION,
        nw.ReLU: ACTIVATION,
        nw.LeakyReLU: ACTIVATION,
        nw.Add: [
            *_add_faults(3),
            ("one-channel operand added to the first channel only", _broadcast_to_first),
        ],
        nw.Concat: [("operands in reverse order", lambda layer, x, p: pointwise.concat(*x[::-1]))],
        nw.DepthToSpace: list(_shuffle_faults()),
        nw.Shift: [
            ("input not shifted", lambda layer, x, p: x[0]),
            ("shifted the other way", lambda layer, x, p: x[0] - layer.offset),
            ("shifted twice", lambda layer, x, p: x[0] + 2 * layer.offset),
        ],
        nw.Scale: [
            ("not scaled", lambda layer, x, p: x[0]),
            ("divided instead of multiplied", lambda layer, x, p: x[0] / (layer.factor or 1.0)),
        ],
        nw.Clip: [
            ("not clipped", lambda layer, x, p: x[0]),
            ("clipped below only", lambda layer, x, p: np.maximum(x[0], layer.low)),
            ("clipped above only", lambda layer, x, p: np.minimum(x[0], layer.high)),
        ],
        nw.Resize: [(f"resized by {mode}", _resized(mode)) for mode in MODES],
    }
)
INPUT_FAULTS: list[tuple[str, Callable[[Array], Array]]] = [
    ("channels reversed (RGB for BGR)", lambda x: x[..., ::-1]),
    ("Y stretched to full range (16..235 to 0..255)", lambda x: (x * 255 - 16) / 219),
    ("Y squeezed to studio range (0..255 to 16..235)", lambda x: (x * 219 + 16) / 255),
    ("pixels in 0..255 instead of 0..1", lambda x: x * 255),
    ("pixels divided by 255 twice", lambda x: x / 255),
    ("pixels divided by 256 instead of 255", lambda x: x * (255 / 256)),
    ("pixels in -1..1 instead of 0..1", lambda x: 2 * x - 1),
    ("pixels shifted by -0.5", lambda x: x - 0.5),
    ("pixels shifted by +0.5", lambda x: x + 0.5),
    ("input all zero", lambda x: x * 0),
    ("input inverted", lambda x: 1 - x),
    ("image mirrored", lambda x: x[:, :, ::-1]),
    ("image upside down", lambda x: x[:, ::-1]),
    ("rows and columns swapped", lambda x: x.swapaxes(1, 2) if x.shape[1] == x.shape[2] else x),
]
RESULT_FAULTS: list[tuple[str, Callable[[Array], Array]]] = [
    *INPUT_FAULTS[3:5],
    *INPUT_FAULTS[9:],
    ("negated", lambda y: -y),
    ("ReLU applied", lambda y: np.maximum(y, 0)),
    ("clipped to 0..1", lambda y: np.clip(y, 0, 1)),
    ("rounded to 8 bits", lambda y: np.rint(np.clip(y, 0, 1) * 255) / 255),
    ("cut off to 8 bits", lambda y: np.floor(np.clip(y, 0, 1) * 255) / 255),
    ("channels reversed", lambda y: y[..., ::-1]),
    *(
        (f"off by {r:+d} rows, {c:+d} columns", lambda y, r=r, c=c: np.roll(y, (r, c), (1, 2)))
        for r in (-1, 0, 1)
        for c in (-1, 0, 1)
        if r or c
    ),
]
