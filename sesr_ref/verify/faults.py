"""The usual mistakes, each as what the layer then computes.

A fault is tried by running the layer that way from the candidate's own inputs; it is named if that
reproduces the candidate.  ``FAULTS[kind]`` is a table of name and ``(layer, inputs, params) -> y``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sesr_ref import network as nw
from sesr_ref.execute import RULES
from sesr_ref.ops import pointwise, rearrange
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.resampling import MODES
from sesr_ref.ops.table import REFERENCE

Faulty = Callable[[Any, Sequence[Array], Params], Array]
Named = tuple[str, Faulty]


def right(layer: nw.Layer, x: Sequence[Array], params: Params) -> Array:
    """The layer as it should be."""
    return RULES[type(layer)].forward(layer, REFERENCE, x, params)


def _with_weight(change: Callable[[Array], Array]) -> Faulty:
    def faulty(layer: nw.Layer, x: Sequence[Array], params: Params) -> Array:
        weight = np.ascontiguousarray(change(params["weight"])).reshape(params["weight"].shape)
        return right(layer, x, params | {"weight": weight})

    return faulty


def _swapped_channels(weight: Array) -> Array:
    return weight.swapaxes(2, 3) if weight.shape[2] == weight.shape[3] else weight


def _from_layout(order: tuple[int, ...]) -> Callable[[Array], Array]:
    """Bytes of a weight stored with its axes in `order`, read as HWIO."""
    return lambda weight: weight.transpose(order)


def _to_layout(order: tuple[int, ...]) -> Callable[[Array], Array]:
    """HWIO bytes read as if the axes were in `order`."""

    def change(weight: Array) -> Array:
        shape = [weight.shape[i] for i in order]
        return weight.reshape(shape).transpose(np.argsort(order))

    return change


def _plus_identity(times: float) -> Callable[[Array], Array]:
    def change(weight: Array) -> Array:
        if weight.shape[2] != weight.shape[3]:
            return weight
        weight, middle = weight.copy(), len(weight) // 2
        weight[middle, middle] += times * np.eye(weight.shape[2])
        return weight

    return change


def _bias_times(factor: float) -> Faulty:
    def faulty(layer: nw.Layer, x: Sequence[Array], params: Params) -> Array:
        if "bias" not in params:
            return right(layer, x, params)
        return right(layer, x, params | {"bias": factor * params["bias"]})

    return faulty


def _border(mode: Any) -> Faulty:
    def faulty(layer: nw.Conv, x: Sequence[Array], params: Params) -> Array:
        k = layer.kernel_size // 2
        if k == 0 or (mode == "reflect" and min(x[0].shape[1:3]) <= k):
            return right(layer, x, params)
        padded = np.pad(x[0], ((0, 0), (k, k), (k, k), (0, 0)), mode=mode)
        return right(layer, [padded], params)[:, k:-k, k:-k]

    return faulty


def _border_left_out(layer: nw.Conv, x: Sequence[Array], params: Params) -> Array:
    k = layer.kernel_size // 2
    y = np.zeros_like(full := right(layer, x, params))
    inner = (slice(None), *(slice(k, -k or None),) * 2)
    y[inner] = full[inner]
    return y


def _moved(rows: int, columns: int) -> Faulty:
    """Padding off by one: what belongs to a neighbour, computed with zeros beyond the border."""

    def faulty(layer: nw.Layer, x: Sequence[Array], params: Params) -> Array:
        pad = [np.pad(a, ((0, 0), (1, 1), (1, 1), (0, 0))) for a in x]
        y = right(layer, pad, params)
        ratio = y.shape[1] // pad[0].shape[1]
        top, left = ratio + rows, ratio + columns
        height, width = (size * ratio for size in x[0].shape[1:3])
        return y[:, top : top + height, left : left + width]

    return faulty


def _convolutions() -> list[Named]:
    weights: dict[str, Callable[[Array], Array]] = {
        "kernel flipped (convolution instead of correlation)": lambda w: w[::-1, ::-1],
        "kernel's height and width swapped": lambda w: w.transpose(1, 0, 2, 3),
        "kernel flipped vertically": lambda w: w[::-1],
        "kernel flipped horizontally": lambda w: w[:, ::-1],
        "input and output channels swapped (HWOI)": _swapped_channels,
        "OIHW weight read as HWIO": _from_layout((3, 2, 0, 1)),
        "HWIO weight read as OIHW": _to_layout((3, 2, 0, 1)),
        "OHWI weight read as HWIO": _from_layout((3, 0, 1, 2)),
        "HWIO weight read as OHWI": _to_layout((3, 0, 1, 2)),
        "IHWO weight read as HWIO": _from_layout((2, 0, 1, 3)),
        "HWIO weight read as IHWO": _to_layout((2, 0, 1, 3)),
        "output channels reversed": lambda w: w[..., ::-1],
        "input channels reversed": lambda w: w[:, :, ::-1],
        "weight negated": lambda w: -w,
        "short residual missing": _plus_identity(-1.0),
        "short residual added twice": _plus_identity(1.0),
    }
    places = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if r or c]
    return [
        *((name, _with_weight(change)) for name, change in weights.items()),
        ("bias missing", _bias_times(0.0)),
        ("bias added twice", _bias_times(2.0)),
        ("bias subtracted", _bias_times(-1.0)),
        *((f"padding off by one ({r:+d} rows, {c:+d} columns)", _moved(r, c)) for r, c in places),
    ]


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
]  # fmt: skip


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
    """A one-channel operand added to one channel instead of all."""
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


FAULTS: dict[type[nw.Layer], list[Named]] = {
    nw.Conv: [
        *_convolutions(),
        ("border repeated instead of zero", _border("edge")),
        ("border mirrored instead of zero", _border("reflect")),
        ("border left out (valid convolution)", _border_left_out),
    ],
    nw.ConvTranspose: _convolutions(),
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
}  # fmt: skip
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
]  # fmt: skip
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
]  # fmt: skip
