"""ONNX in: convolutional super-resolution models that others made, as a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sesr_ref.checks import check_params
from sesr_ref.exchange.blocks import find_linear_blocks
from sesr_ref.exchange.kinds import ONNX, check_kind
from sesr_ref.exchange.onnx.bicubic import find_bicubic
from sesr_ref.exchange.onnx.builder import Builder
from sesr_ref.exchange.onnx.ends import (
    enlarged_image,
    finishing_tensors,
    input_image,
    output_of,
)
from sesr_ref.exchange.onnx.file import PRODUCER, opset_of, read_model, require_onnx, tensor_array
from sesr_ref.exchange.onnx.fold import folded
from sesr_ref.exchange.onnx.gelu import find_gelu
from sesr_ref.exchange.onnx.graph import NCHW, Node, Value, View, clean_name
from sesr_ref.exchange.onnx.operators import RULES
from sesr_ref.exchange.onnx.order import needed_nodes
from sesr_ref.exchange.onnx.search import Found
from sesr_ref.exchange.onnx.settle import settled
from sesr_ref.limits import naming
from sesr_ref.network import Layer, Network
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
    require_onnx()
    with naming(path):
        check_kind(path, ONNX)
        model = read_model(path)
        name = model.graph.name if model.producer_name == PRODUCER else path.stem
        net, params = _network_of(model, clean_name(name) or "network", output)
    return find_linear_blocks(net, params) if find_blocks else (net, params)


def _network_of(model: Any, name: str, output: str | None) -> tuple[Network, Params]:
    graph = model.graph
    if output is None and model.producer_name == PRODUCER and graph.output:
        output = str(graph.output[0].name)  # to_onnx lists the image ahead of other tensors
    wanted = output_of(graph, output)
    builder = Builder(readers=_readers(graph), tail=finishing_tensors(graph, wanted.name))
    image = input_image(graph, builder)
    last = _walk(graph, builder, opset_of(model), wanted.name)
    enlarged = enlarged_image(builder, last, wanted)
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
