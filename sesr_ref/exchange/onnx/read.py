"""ONNX in: convolutional super-resolution models that others made, as a network."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from sesr_ref.checks import check_params
from sesr_ref.exchange.blocks import find_linear_blocks
from sesr_ref.exchange.onnx import axes as ax
from sesr_ref.exchange.onnx.bicubic import Bicubic, find_bicubic
from sesr_ref.exchange.onnx.file import PRODUCER, opset_of, read_model, tensor_array
from sesr_ref.exchange.onnx.fold import folded
from sesr_ref.exchange.onnx.graph import PROBE, Builder, Image, Node, Value, View, clean_name
from sesr_ref.exchange.onnx.operators import FLOAT_TYPES, RULES
from sesr_ref.network import MAX_SIZE, Layer, Network, Resize
from sesr_ref.ops.arrays import Params

NCHW, NHWC = (0, 1, 2, 3), (0, 2, 3, 1)


def from_onnx(
    path: str | Path, find_blocks: bool = True, output: str | None = None
) -> tuple[Network, Params]:
    """Read a super-resolution model that PyTorch, TensorFlow or another exporter wrote.

    Understood are the operators of `sesr_ref.exchange.onnx.operators.RULES`, stride-1 'same'
    convolutions with groups, depth-to-space as an operator or as Reshape and Transpose, constants
    added or multiplied for each channel (which become depthwise 1 x 1 convolutions), NCHW or NHWC.

    Parameters
    ----------
    path : path
        An ONNX file; external data is read only from below its folder.
    find_blocks : bool
        Return pairs of convolutions k x k, 1 x 1 with nothing between, and their short skips, as
        `LinearBlock`, so that `sesr_ref.collapsed` collapses them.
    output : str, optional
        Which of the graph's outputs is the enlarged image; needed where there are several, but for
        models of this package, whose first it is.

    Returns
    -------
    net : Network
        Layers are called after the tensors they make.
    params : dict of float32 arrays
        float64 where the model holds it; float16 and bfloat16 are widened.

    Raises
    ------
    ValueError
        For a file that is damaged, reads outside its folder or has cycles; a node that is not
        understood, with its place; a graph that is no enlargement.
    ImportError
        When onnx is not installed, with the extra's name.
    """
    path = Path(path)
    try:
        model = read_model(path)
        name = model.graph.name if model.producer_name == PRODUCER else path.stem
        net, params = _network_of(model, clean_name(name) or "network", output)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return find_linear_blocks(net, params) if find_blocks else (net, params)


def _network_of(model: Any, name: str, output: str | None) -> tuple[Network, Params]:
    graph = model.graph
    if output is None and model.producer_name == PRODUCER and graph.output:
        output = str(graph.output[0].name)  # to_onnx lists the image ahead of other tensors
    wanted = _output_name(graph, output)
    builder = Builder(readers=_readers(graph))
    builder.values = {t.name: tensor_array(t) for t in graph.initializer}
    source, image = _input(graph)
    builder.values[source] = image
    last = _walk(graph, builder, opset_of(model))
    enlarged = _enlarged(builder, last, wanted)
    layers = _needed(builder.layers, enlarged.source)
    if not layers:
        raise ValueError(f"the output {wanted!r} is the input itself")
    upscale = max(enlarged.shape[2] // image.shape[2], 1)
    net = Network(name, upscale, image.shape[1], layers)
    params = {key: builder.params[key] for key in net.param_shapes() if key in builder.params}
    check_params(net, params)
    return net, params


def _walk(graph: Any, builder: Builder, opset: int) -> Node:
    """Give every node's output its value; the last node, for errors."""
    enlargements = find_bicubic(graph)
    inner = {name for found in enlargements.values() for name in found.inner}
    for index, proto in enumerate(graph.node):
        node = Node(index, proto, opset)
        bicubic = enlargements.get(proto.output[0]) if proto.output else None
        if bicubic is not None:
            builder.values[node.outputs[0]] = _bicubic(node, builder, bicubic)
        elif not inner.intersection(node.outputs):
            builder.values[node.outputs[0]] = _value_of(node, builder)
    return node


def _bicubic(node: Node, builder: Builder, found: Bicubic) -> View:
    source = builder.values.get(found.source)
    if not isinstance(source, View):
        raise node.error(f"enlarges {found.source!r}, which does not depend on the image")
    x = builder.settled(node, source)
    if x.order != NCHW or x.channels != found.channels:
        raise node.error(f"enlarges {found.channels} channel(s) of {found.source!r} in other axes")
    layer = Resize(builder.name_for(node), found.upscale, "bicubic", inputs=(x.source,))
    return builder.emit(node, layer, x.shape, order=x.order)


def _value_of(node: Node, builder: Builder) -> Value:
    if missing := [i for i in node.inputs if i and i not in builder.values]:
        raise node.error(f"reads {missing[0]!r}, which nothing supported makes")
    if (constant := folded(node, builder)) is not None:
        return constant
    if node.kind not in RULES or node.domain not in ("", "ai.onnx"):
        kind = f"{node.domain}.{node.kind}" if node.domain else node.kind
        raise node.error(f"operator {kind} is not supported (supported: {', '.join(RULES)})")
    try:
        return RULES[node.kind](node, builder)
    except ValueError as error:
        raise error if str(error).startswith(node.place) else node.error(str(error)) from None


def _input(graph: Any) -> tuple[str, View]:
    """The image that the graph takes: its name and what stands for it."""
    constants = {t.name for t in graph.initializer}
    inputs = [i for i in graph.input if i.name not in constants]
    if len(inputs) != 1:
        raise ValueError(f"must have one input, got {[i.name for i in inputs]}")
    kind = inputs[0].type.tensor_type
    if kind.elem_type not in FLOAT_TYPES:
        raise ValueError(
            f"input {inputs[0].name!r} has ONNX type {kind.elem_type}; "
            f"supported are {', '.join(FLOAT_TYPES.values())}"
        )
    sizes = [max(int(d.dim_value), 0) for d in kind.shape.dim]  # 0 for a dynamic one
    if len(sizes) != 4:
        raise ValueError(f"input {inputs[0].name!r} has {len(sizes)} axes instead of 4")
    last = sizes[3] in (1, 3) and sizes[1] not in (1, 3)
    n, channels, height, width = [sizes[i] for i in (0, 3, 1, 2)] if last else sizes
    if not 1 <= channels <= MAX_SIZE:
        raise ValueError(
            f"input {inputs[0].name!r} does not state 1 to {MAX_SIZE} channels: {sizes}"
        )
    shape = (max(n, 1), channels, height or PROBE[0], width or PROBE[1])
    axes = ax.transposed(ax.image_axes(shape), NHWC if last else NCHW)
    return inputs[0].name, View("input", shape, axes)


def _output_name(graph: Any, output: str | None) -> str:
    names = [o.name for o in graph.output]
    if output is None and len(names) > 1:
        raise ValueError(f"has the outputs {names}; say which one is the image (output=...)")
    if output is not None and output not in names:
        raise ValueError(f"has no output {output!r}, only {names}")
    return output or str(names[0])


def _enlarged(builder: Builder, last: Node, name: str) -> Image:
    value = builder.values.get(name)
    if not isinstance(value, View):
        raise ValueError(f"the output {name!r} does not depend on the image")
    image = builder.settled(last, value)
    if image.order not in (NCHW, NHWC):
        raise ValueError(f"the output {name!r} has its axes in the order {image.order}")
    return image


def _needed(layers: list[Layer], output: str) -> tuple[Layer, ...]:
    """The layers that the output depends on; the output's is the last of them."""
    wanted = {output}
    kept = []
    for layer in reversed(layers):
        if layer.name in wanted:
            wanted |= set(layer.inputs)
            kept.append(layer)
    return tuple(kept[::-1])


def _readers(graph: Any) -> Counter[str]:
    """How often each name is read, by nodes or as an output."""
    read: Counter[str] = Counter(name for node in graph.node for name in node.input)
    read.update(o.name for o in graph.output)
    return read
