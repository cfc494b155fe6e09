"""The input and the output of an ONNX graph: which they are, and how they store an image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sesr_ref.exchange.onnx.builder import Builder
from sesr_ref.exchange.onnx.graph import NCHW, NHWC, PROBE, Image, Node, View
from sesr_ref.exchange.onnx.rearrange import BYTES, FINISHING, FLOAT_TYPES
from sesr_ref.exchange.onnx.settle import settled
from sesr_ref.network import MAX_SIZE, Scale


def input_image(graph: Any, builder: Builder) -> Image:
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


def output_of(graph: Any, output: str | None) -> Any:
    """The output of that name, by default the only one; ValueError with the names of all."""
    outputs = {o.name: o for o in graph.output}
    names = f"{list(outputs)!r:.500}"
    if output is None and len(outputs) > 1:
        raise ValueError(f"has the outputs {names}; say which one is the image (--output NAME)")
    if output is not None and output not in outputs:
        raise ValueError(f"has no output {output!r:.200}, only {names}")
    return outputs[output or next(iter(outputs))]


def finishing_tensors(graph: Any, name: str) -> frozenset[str]:
    """The tensors between the network and an output that finishing operators make."""
    makers = {out: node for node in graph.node for out in node.output}
    found: list[str] = []
    while (node := makers.get(name)) is not None and node.op_type in FINISHING:
        found.append(name)
        name = node.input[0]
    return frozenset(found)


def enlarged_image(builder: Builder, last: Node, output: Any) -> Image:
    """The image that the output is; bytes are divided by 255."""
    value = builder.values.get(output.name)
    if not isinstance(value, View):
        raise ValueError(f"the output {output.name!r} does not depend on the image")
    if output.name in builder.codes:
        raise ValueError(f"the output {output.name!r} holds integers, not an image")
    image = settled(builder, last, value)
    if image.order not in (NCHW, NHWC):
        raise ValueError(f"the output {output.name!r} has its axes in the order {image.order}")
    if output.type.tensor_type.elem_type != BYTES:
        return image
    layer = Scale(builder.fresh("unit"), 1 / 255, inputs=(image.source,))
    made = builder.emit(last, layer, image.shape)
    return replace(image, source=made.source)
