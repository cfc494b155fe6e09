"""Cuts, reshapes and transposes as the layers that they amount to."""

from __future__ import annotations

from sesr_ref.exchange.onnx import axes as ax
from sesr_ref.exchange.onnx.emit import Layers
from sesr_ref.exchange.onnx.graph import NO_MARGINS, Image, Node, View
from sesr_ref.exchange.onnx.repeats import Repeat, parts_of, repeat_of
from sesr_ref.network import Concat, DepthToSpace, Pad, Resize, Slice

MAX_PARTS = 1024
"""Most slices that channels may be put together of."""


def settled(layers: Layers, node: Node, view: View) -> Image:
    """Append the layers that make an image of a view.

    Parameters
    ----------
    layers : Layers
        Of the network so far; a view that was read before adds nothing.
    node : Node
        The reader.
    view : View
        A tensor, cut or padded, with its axes reshaped and transposed.

    Returns
    -------
    Image
        Nothing to cut is left.

    Raises
    ------
    ValueError
        With the reader's place, if no layers compute it.
    """
    if view not in layers.images:
        layers.images[view] = _settled(layers, node, _cut(layers, node, view))
    return layers.images[view]


def _cut(layers: Layers, node: Node, view: View) -> View:
    """Margins are a Pad."""
    if view.margins == NO_MARGINS:
        return view
    node.require(
        len(set(view.margins)) == 1,
        f"reads {view.source!r} with {view.margins} pixels cut off (negative: zeros added) above, "
        "left, below and right; only the same number on all sides is supported",
    )
    size = -view.margins[0]
    n, channels, height, width = view.shape
    name = layers.fresh(view.label or f"{view.source}.pad")
    before = (n, channels, height - 2 * size, width - 2 * size)
    made = layers.emit(node, Pad(name, size, inputs=(view.source,)), before)
    return View(made.source, view.shape, view.axes)


def _settled(layers: Layers, node: Node, view: View) -> Image:
    order = ax.order_of(view.axes, ax.image_axes(view.shape))
    if order is not None:
        return Image(view.source, view.shape, order)
    if (shuffle := ax.shuffle_of(view.axes, view.shape)) is not None:
        block, mode, order = shuffle
        name = layers.fresh(f"{view.source}.shuffle")
        layer = DepthToSpace(name, block, mode, inputs=(view.source,))
        made = layers.emit(node, layer, view.shape)
        return Image(made.source, made.shape, order)
    if (repeat := repeat_of(view.axes, view.shape)) is not None:
        made = _enlarged(layers, node, _gathered(layers, node, view, repeat), repeat)
        return Image(made.source, made.shape, repeat.order)
    raise node.error(
        f"reads {view.source!r} of shape {view.shape} rearranged to {view.lengths}, "
        "which is no depth-to-space, nor channels or pixels repeated"
    )


def _gathered(layers: Layers, node: Node, view: View, repeat: Repeat) -> View:
    """Channels repeated or in another order are a Concat of Slices, without any weight."""
    whole = (0, view.shape[1])
    parts = parts_of(repeat.channels)
    node.require(len(parts) <= MAX_PARTS, f"joins {len(parts)} slices, more than {MAX_PARTS}")
    made = {whole: View(view.source, view.shape, view.axes)}
    for start, stop in parts:
        if (start, stop) not in made:
            name = layers.fresh(f"{view.source}.{start}")
            cut = Slice(name, start, stop, inputs=(view.source,))
            made[start, stop] = layers.emit(node, cut, view.shape)
    views = [made[part] for part in parts]
    if len(views) == 1:
        return views[0]
    name = layers.fresh(f"{view.source}.repeat")
    joined = Concat(name, inputs=tuple(each.source for each in views))
    return layers.emit(node, joined, *(each.shape for each in views))


def _enlarged(layers: Layers, node: Node, view: View, repeat: Repeat) -> View:
    """Pixels repeated are the nearest ones of an enlargement."""
    if repeat.upscale == 1:
        return view
    name = layers.fresh(f"{view.source}.nearest")
    layer = Resize(name, repeat.upscale, "nearest", inputs=(view.source,))
    return layers.emit(node, layer, view.shape)
