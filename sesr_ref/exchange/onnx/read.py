"""ONNX in: convolutional super-resolution models that others made, as a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sesr_ref.checks import check_params
from sesr_ref.exchange.blocks import find_linear_blocks
from sesr_ref.exchange.onnx.bicubic import find_bicubic
from sesr_ref.exchange.onnx.builder import Builder
from sesr_ref.exchange.onnx.file import PRODUCER, opset_of, read_model, tensor_array
from sesr_ref.exchange.onnx.fold import folded
from sesr_ref.exchange.onnx.gelu import find_gelu
from sesr_ref.exchange.onnx.graph import NCHW, NHWC, PROBE, Image, Node, Value, View, clean_name
from sesr_ref.exchange.onnx.operators import RULES
from sesr_ref.exchange.onnx.order import needed_nodes
from sesr_ref.exchange.onnx.rearrange import BYTES, FINISHING, FLOAT_TYPES
from sesr_ref.exchange.onnx.search import Found
from sesr_ref.exchange.onnx.settle import settled
from sesr_ref.files import check_regular
from sesr_ref.network import MAX_SIZE, Layer, Network, Scale
from sesr_ref.ops.arrays import Params


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
    check_regular(path)
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
    wanted = _output_of(graph, output)
    builder = Builder(readers=_readers(graph), tail=_tail(graph, wanted.name))
    image = _input(graph, builder)
    last = _walk(graph, builder, opset_of(model), wanted.name)
    enlarged = _enlarged(builder, last, wanted)
    layers = _needed(builder, enlarged.source)
    if not layers:
        raise ValueError(f"the output {wanted.name!r} is the input itself")
    upscale = max(enlarged.shape[2] // image.shape[2], 1)
    net = Network(name, upscale, image.shape[1], layers)
    params = {key: builder.params[key] for key in net.param_shapes() if key in builder.params}
    check_params(net, params)
    return net, params


def _walk(graph: Any, builder: Builder, opset: int, wanted: str) -> Node:
    """Give a value to all that the wanted output depends on; the last node, for errors."""
    found = find_bicubic(graph) | find_gelu(graph)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    sources = {name: each.source for name, each in found.items()}
    node = Node(len(graph.node) - 1, graph.node[-1], opset)
    for index in needed_nodes(graph, wanted, sources):
        node = Node(index, graph.node[index], opset)
        for name in node.inputs:
            if name in constants and name not in builder.values:
                builder.values[name] = tensor_array(constants[name])
        each = found.get(node.outputs[0])
        values = [_several(node, builder, each)] if each else _values_of(node, builder)
        builder.values |= dict(zip(node.outputs, values, strict=False))
    return node


def _several(node: Node, builder: Builder, found: Found) -> View:
    """One layer for several nodes."""
    source = builder.values.get(found.source)
    if not isinstance(source, View):
        raise node.error(f"reads {found.source!r}, which does not depend on the image")
    x = settled(builder, node, source)
    if found.channels and (x.order != NCHW or x.channels != found.channels):
        raise node.error(f"enlarges {found.channels} channel(s) of {found.source!r} in other axes")
    layer = found.layer(builder.name_for(node), (x.source,))
    return builder.emit(node, layer, x.shape, order=x.order)


def _values_of(node: Node, builder: Builder) -> Sequence[Value]:
    if missing := [i for i in node.inputs if i and i not in builder.values]:
        raise node.error(f"reads {missing[0]!r}, which nothing supported makes")
    if (constants := folded(node, builder)) is not None:
        return constants
    kind = f"{node.domain}.{node.kind}" if node.domain not in ("", "ai.onnx") else node.kind
    known = f"operator {kind} is not supported (supported: {', '.join(RULES)})"
    node.require(kind in RULES, known)
    try:
        made = RULES[kind](node, builder)
    except ValueError as error:
        raise error if str(error).startswith(node.place) else node.error(str(error)) from None
    return made if isinstance(made, list) else [made]


def _input(graph: Any, builder: Builder) -> Image:
    """The image that the graph takes."""
    constants = {t.name for t in graph.initializer}
    inputs = [i for i in graph.input if i.name not in constants]
    if len(inputs) != 1:
        raise ValueError(f"must have one input, got {[i.name for i in inputs]!r:.300}")
    source = inputs[0]
    kind = source.type.tensor_type
    if kind.elem_type not in (*FLOAT_TYPES, BYTES):
        raise ValueError(
            f"input {source.name!r} has ONNX type {kind.elem_type}; "
            f"supported are {', '.join(FLOAT_TYPES.values())} and uint8"
        )
    sizes = [max(int(d.dim_value), 0) for d in kind.shape.dim]  # 0 for a dynamic one
    if len(sizes) != 4:
        raise ValueError(f"input {source.name!r} has {len(sizes)} axes instead of 4")
    last = sizes[3] in (1, 3) and sizes[1] not in (1, 3)
    n, channels, height, width = [sizes[i] for i in (0, 3, 1, 2)] if last else sizes
    if not 1 <= channels <= MAX_SIZE:
        raise ValueError(f"input {source.name!r} does not state 1 to {MAX_SIZE} channels: {sizes}")
    shape = (max(n, 1), channels, height or PROBE[0], width or PROBE[1])
    image = Image("input", shape, NHWC if last else NCHW)
    if kind.elem_type == BYTES:
        image = _bytes(builder, source.name, image)
    builder.values[source.name] = image.view
    return image


def _bytes(builder: Builder, name: str, image: Image) -> Image:
    """An input of bytes is the image times 255; what divides by 255 takes that away again."""
    builder.bytes = builder.fresh("bytes")
    builder.layers[builder.bytes] = Scale(builder.bytes, 255.0, inputs=("input",))
    builder.tensors[builder.bytes] = name
    return replace(image, source=builder.bytes)


def _output_of(graph: Any, output: str | None) -> Any:
    outputs = {o.name: o for o in graph.output}
    names = f"{list(outputs)!r:.500}"
    if output is None and len(outputs) > 1:
        raise ValueError(f"has the outputs {names}; say which one is the image (output=...)")
    if output is not None and output not in outputs:
        raise ValueError(f"has no output {output!r:.200}, only {names}")
    return outputs[output or next(iter(outputs))]


def _tail(graph: Any, name: str) -> frozenset[str]:
    """The tensors between the network and an output that finishing operators make."""
    makers = {out: node for node in graph.node for out in node.output}
    found: list[str] = []
    while (node := makers.get(name)) is not None and node.op_type in FINISHING:
        found.append(name)
        name = node.input[0]
    return frozenset(found)


def _enlarged(builder: Builder, last: Node, output: Any) -> Image:
    value = builder.values.get(output.name)
    if not isinstance(value, View):
        raise ValueError(f"the output {output.name!r} does not depend on the image")
    image = settled(builder, last, value)
    if image.order not in (NCHW, NHWC):
        raise ValueError(f"the output {output.name!r} has its axes in the order {image.order}")
    if output.type.tensor_type.elem_type != BYTES:
        return image
    layer = Scale(builder.fresh("unit"), 1 / 255, inputs=(image.source,))
    made = builder.emit(last, layer, image.shape)
    return replace(image, source=made.source)


def _needed(builder: Builder, output: str) -> tuple[Layer, ...]:
    """The layers that the output depends on; the output's is the last of them."""
    wanted = {output}
    kept = []
    for layer in reversed(builder.layers.values()):
        if layer.name in wanted:
            wanted |= set(layer.inputs)
            kept.append(layer)
    return tuple(kept[::-1])


def _readers(graph: Any) -> Counter[str]:
    """How often each name is read, by nodes or as an output."""
    read: Counter[str] = Counter(name for node in graph.node for name in node.input)
    read.update(o.name for o in graph.output)
    return read
