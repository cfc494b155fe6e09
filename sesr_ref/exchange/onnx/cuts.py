"""What cuts or pads an image of an ONNX graph: Slice, Split and Pad."""

from __future__ import annotations

from sesr_ref import network as nw
from sesr_ref.exchange.onnx.builder import Builder
from sesr_ref.exchange.onnx.emit import label_of
from sesr_ref.exchange.onnx.graph import Image, Margins, Node, View
from sesr_ref.exchange.onnx.settle import settled

SPATIAL = {2: (0, 2), 3: (1, 3)}
"""Which margins belong to the image's rows and columns."""


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
