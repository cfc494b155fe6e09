"""What moves, repeats, cuts or joins the values of an ONNX graph without changing them."""

from __future__ import annotations

import math

from sesr_ref import network as nw
from sesr_ref.exchange.onnx import axes as ax
from sesr_ref.exchange.onnx.arithmetic import check_same_order
from sesr_ref.exchange.onnx.builder import Builder
from sesr_ref.exchange.onnx.emit import label_of
from sesr_ref.exchange.onnx.graph import Image, Margins, Node, View
from sesr_ref.exchange.onnx.resize import resize_mode, resize_scale
from sesr_ref.exchange.onnx.settle import settled

FLOAT_TYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
"""ONNX's numbers for the types that images may have."""
BYTES = 2
"""ONNX's number for uint8."""
FINISHING = ("Cast", "Clip", "Identity", "Max", "Min", "Reshape", "Round", "Transpose")
"""Operators that may stand between a network and an output of bytes."""
SPATIAL = {2: (0, 2), 3: (1, 3)}
"""Which margins belong to the image's rows and columns."""


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


def slices(node: Node, b: Builder) -> View:
    """Slice: of channels, or the same cut off all sides."""
    x = b.uncut(node, 0)
    starts, stops = b.integers(node, 1, "starts") or [], b.integers(node, 2, "ends") or []
    places = b.integers(node, 3, "axes")
    places = list(range(len(starts))) if places is None else places
    node.require(
        set(b.integers(node, 4, "steps") or [1]) == {1} and len(starts) == len(stops),
        "only steps of 1 are supported",
    )
    for place, start, stop in zip(places, starts, stops, strict=True):
        axis = x.order[place % 4]
        first, last, _ = slice(start, stop).indices(x.shape[axis])
        x = _sliced(node, b, x, axis, first, last)
    return x.view


def _sliced(node: Node, b: Builder, x: Image, axis: int, start: int, stop: int) -> Image:
    length = x.shape[axis]
    node.require(start < stop, f"leaves nothing of {length} along an axis")
    if (start, stop) == (0, length):
        return x
    node.require(axis != 0, "cuts the batch")
    if axis == 1:
        return _channels(node, b, settled(b, node, x.view), start, stop, 0)
    margins = [0] * 4
    margins[SPATIAL[axis][0]], margins[SPATIAL[axis][1]] = start, length - stop
    top, left, bottom, right = margins
    return x.cut((top, left, bottom, right), label_of(node))


def split(node: Node, b: Builder) -> list[View]:
    """Split of channels: a slice for each output."""
    x = b.image(node, 0)
    axis = x.order[int(node.attribute("axis", 0)) % 4]
    node.require(axis == 1, f"axis {node.attribute('axis', 0)} is not the channels'")
    count = len(node.outputs)
    even = -(-x.channels // count)
    sizes = b.integers(node, 1, "split") or [even] * (count - 1) + [x.channels - even * (count - 1)]
    node.require(
        len(sizes) == count and sum(sizes) == x.channels,
        f"{sizes} are not the {x.channels} channels in {count} parts",
    )
    stops = [sum(sizes[: i + 1]) for i in range(count)]
    pairs = zip(stops, sizes, strict=True)
    return [_channels(node, b, x, e - n, e, i).view for i, (e, n) in enumerate(pairs)]


def _channels(node: Node, b: Builder, x: Image, start: int, stop: int, output: int) -> Image:
    layer = nw.Slice(b.name_for(node, output), start, stop, inputs=(x.source,))
    view = b.emit(node, layer, x.shape, output=output)
    return Image(view.source, view.shape, x.order)


def pad(node: Node, b: Builder) -> View:
    """Pad with zeros, or cut where it is negative; the next convolution may take it as its own."""
    x = b.uncut(node, 0)
    value = b.optional(node, 2)
    zeros = (node.attribute("value", 0) == 0) if value is None else not value.any()
    mode = node.attribute("mode", "constant")
    node.require(mode == "constant" and zeros, f"mode {mode!r}; only zeros are supported")
    sizes, places = b.integers(node, 1, "pads") or [], b.integers(node, 3, "axes")
    axes = [x.order[place % 4] for place in (range(4) if places is None else places)]
    node.require(len(sizes) == 2 * len(axes), f"pads {sizes} for {len(axes)} axes")
    margins: list[int] = [0] * 4
    for axis, before, after in zip(axes, sizes, sizes[len(axes) :], strict=False):
        node.require(axis in SPATIAL or before == after == 0, "pads batch or channels")
        if axis in SPATIAL:
            margins[SPATIAL[axis][0]], margins[SPATIAL[axis][1]] = -before, -after
    more: Margins = (margins[0], margins[1], margins[2], margins[3])
    if any(have > 0 > cut for have, cut in zip(x.margins, more, strict=True)):
        x = settled(b, node, x.view)
    return x.cut(more, label_of(node)).view


def _seen(view: View, axes: ax.Axes) -> View:
    return View(view.source, view.shape, axes, view.margins, view.label)
