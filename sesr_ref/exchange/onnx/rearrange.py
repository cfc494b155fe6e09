"""What moves, repeats or joins the values of an ONNX graph without changing them."""

from __future__ import annotations

import math

from sesr_ref import network as nw
from sesr_ref.exchange.onnx import axes as ax
from sesr_ref.exchange.onnx.arithmetic import check_same_order
from sesr_ref.exchange.onnx.builder import Builder
from sesr_ref.exchange.onnx.graph import Node, View
from sesr_ref.exchange.onnx.resize import resize_mode, resize_scale

FLOAT_TYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
"""ONNX's numbers for the types that images may have."""
BYTES = 2
"""ONNX's number for uint8."""
FINISHING = ("Cast", "Clip", "Identity", "Max", "Min", "Reshape", "Round", "Transpose")
"""Operators that may stand between a network and an output of bytes."""


def same(node: Node, b: Builder) -> View:
    """Operators that change nothing at inference."""
    return b.view(node)


def cast(node: Node, b: Builder) -> View:
    """Cast among floats, and to bytes as the last of all: whoever writes the image rounds."""
    to = int(node.attribute("to", 0))
    node.require(
        to in FLOAT_TYPES or (to == BYTES and node.outputs[0] in b.tail),
        "casts the image to something other than float, float16 or double",
    )
    return b.view(node)


def rounding(node: Node, b: Builder) -> View:
    """Round ahead of a cast to bytes."""
    node.require(node.outputs[0] in b.tail, "rounds elsewhere than ahead of the output")
    return b.view(node)


def concat(node: Node, b: Builder) -> View:
    """Concat of channels."""
    images = [b.image(node, i) for i in range(len(node.inputs))]
    check_same_order(node, images)
    order = images[0].order
    node.require(
        order[int(node.attribute("axis")) % 4] == 1,
        f"axis {node.attribute('axis')} is not the channels'",
    )
    layer = nw.Concat(b.name_for(node), inputs=tuple(i.source for i in images))
    return b.emit(node, layer, *(i.shape for i in images), order=order)


def depth_to_space(node: Node, b: Builder) -> View:
    """DepthToSpace in either order."""
    x = b.nchw(node, b.image(node, 0))
    block, mode = int(node.attribute("blocksize", 0)), node.attribute("mode", "DCR")
    layer = nw.DepthToSpace(b.name_for(node), block, mode, inputs=(x.source,))
    return b.emit(node, layer, x.shape)


def resize(node: Node, b: Builder) -> View:
    """Resize and Upsample."""
    x = b.image(node, 0)
    scale = resize_scale(node, b, x)
    layer = nw.Resize(b.name_for(node), scale, resize_mode(node, scale), inputs=(x.source,))
    return b.emit(node, layer, x.shape, order=x.order)


def transpose(node: Node, b: Builder) -> View:
    """Transpose, followed without computing anything."""
    view = b.view(node)
    order = [int(i) for i in node.attribute("perm", range(len(view.axes))[::-1])]
    node.require(
        sorted(order) == list(range(len(view.axes))),
        f"perm {order} of a tensor with {len(view.axes)} axes",
    )
    return _seen(view, ax.transposed(view.axes, order))


def reshape(node: Node, b: Builder) -> View:
    """Reshape, followed without computing anything."""
    view, shape = b.view(node), b.constant(node, 1)
    lengths = [int(n) for n in shape.reshape(-1)]
    if not node.attribute("allowzero", 0):
        old = (*view.lengths, *[0] * len(lengths))
        lengths = [n or old[i] for i, n in enumerate(lengths)]
    if lengths.count(-1) == 1:
        known = -math.prod(lengths)
        lengths[lengths.index(-1)] = math.prod(view.lengths) // max(known, 1)
    node.require(
        all(n >= 1 for n in lengths), f"a tensor of shape {view.lengths} has no shape {lengths}"
    )
    try:
        return _seen(view, ax.reshaped(view.axes, lengths))
    except ValueError as error:
        raise node.error(str(error)) from None


def unsqueeze(node: Node, b: Builder) -> View:
    """Unsqueeze: axes of length 1 more."""
    view, places = b.view(node), b.integers(node, 1, "axes") or []
    rank = len(view.axes) + len(places)
    new = {place % rank for place in places}
    node.require(len(new) == len(places), f"axes {places} of {rank}")
    old = iter(view.axes)
    return _seen(view, tuple(() if i in new else next(old) for i in range(rank)))


def squeeze(node: Node, b: Builder) -> View:
    """Squeeze: axes of length 1 fewer."""
    view, rank = b.view(node), len(b.view(node).axes)
    places = b.integers(node, 1, "axes")
    gone = {i % rank for i in (range(rank) if places is None else places)}
    if places is None:
        gone = {i for i in gone if not view.axes[i]}
    node.require(not any(view.axes[i] for i in gone), f"axes {places} of {view.lengths}")
    return _seen(view, tuple(axis for i, axis in enumerate(view.axes) if i not in gone))


def expand(node: Node, b: Builder) -> View:
    """Expand: axes of length 1 repeat."""
    view = b.view(node)
    wanted = [int(n) for n in b.constant(node, 1).reshape(-1)]
    axes = ((),) * (len(wanted) - len(view.axes)) + view.axes
    wanted = [1] * (len(axes) - len(wanted)) + wanted
    made = []
    for axis, have, want in zip(axes, ax.lengths(axes), wanted, strict=True):
        node.require(
            want in (1, have) or (have == 1 and 1 < want <= nw.MAX_SIZE),
            f"a tensor of shape {view.lengths} does not expand to {wanted}",
        )
        made.append(ax.repeated(axis, want if have == 1 else 1))
    return _seen(view, tuple(made))


def tile(node: Node, b: Builder) -> View:
    """Tile: whole axes repeat."""
    view = b.view(node)
    repeats = [int(n) for n in b.constant(node, 1).reshape(-1)]
    node.require(
        len(repeats) == len(view.axes) and all(1 <= n <= nw.MAX_SIZE for n in repeats),
        f"repeats {repeats} of a tensor of shape {view.lengths}",
    )
    axes = zip(view.axes, repeats, strict=True)
    return _seen(view, tuple(ax.repeated(axis, count) for axis, count in axes))


def _seen(view: View, axes: ax.Axes) -> View:
    return View(view.source, view.shape, axes, view.margins, view.label)
