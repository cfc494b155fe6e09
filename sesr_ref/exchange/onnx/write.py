"""ONNX out: a network as a graph that other runtimes fuse well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sesr_ref.checks import layer_params
from sesr_ref.exchange.onnx.file import PRODUCER, require_onnx
from sesr_ref.exchange.onnx.layers import RULES
from sesr_ref.exchange.onnx.words import first_line
from sesr_ref.exchange.onnx.writer import Graph
from sesr_ref.exchange.phases import MIRROR
from sesr_ref.exchange.rounding import DTYPES, collapsed_exactly
from sesr_ref.exchange.shuffle_order import with_shuffle_mode
from sesr_ref.files import atomic_write
from sesr_ref.limits import whole_number
from sesr_ref.network import Network, Resize
from sesr_ref.ops.arrays import Params

Size = tuple[int, int]
"""Height and width."""
PROBES = (1 << 10, 1 << 11)
"""Two sides of an image, from which it is seen how a tensor grows with it."""
OPSET = 17
"""Version of the operator set that is written unless another is asked for."""
ELEMENTS = {"float32": "FLOAT", "float16": "FLOAT16"}
OPSETS = range(11, 22)
"""Versions that can be written."""


def to_onnx(
    path: str | Path,
    net: Network,
    params: Params,
    *,
    size: Size | None = None,
    dtype: str = "float32",
    mode: str | None = None,
    every_tensor: bool = False,
    opset: int = OPSET,
    overwrite: bool = True,
) -> None:
    """Write a network as ONNX, NCHW, every tensor under its layer's name.

    Linear blocks are collapsed first, in float64, and rounded once; for the uncollapsed form give
    ``expanded(net), expand_params(net, params)``.

    Parameters
    ----------
    path : path
        Its folder must exist; written under a temporary name, then renamed.
    net : Network
        With linear blocks or without.
    params : dict of arrays
        Its parameters; each layer gets its own constants, shared parameters too.
    size : (int, int), optional
        Height and width of the input, for batches of one image; None leaves all three open.
    dtype : {"float32", "float16"}
        Of input, output and constants.
    mode : {"DCR", "CRD"}, optional
        Write every depth-to-space in this order of channels (see `with_shuffle_mode`: the layers
        ahead of it make their channels in another order then); None keeps each layer's own.
    every_tensor : bool
        Make each layer's tensor an output of the graph, the enlarged image the first.
    opset : int
        Version of the operators, 11 to 21; GELU is one operator from 20 on.
    overwrite : bool
        Whether an existing file is replaced.

    Raises
    ------
    ValueError
        If parameters do not fit, or do not fit into float16; for an unknown dtype, mode or opset.
    FileExistsError
        If the file exists and shall not be overwritten.
    ImportError
        When onnx is not installed, with the extra's name.

    Notes
    -----
    The bicubic enlargement of MATLAB's imresize (a = -0.5, edges mirrored) has no operator in ONNX:
    it becomes Slice and Concat for the edges, a depthwise convolution and depth-to-space, exact at
    the border too, for images of at least 2 x 2 pixels.
    """
    _check_options(net, size, dtype, opset)
    net, params = collapsed_exactly(net, params)
    if mode is not None:
        net, params = with_shuffle_mode(net, params, mode)
    graph = _graph(net, params, Graph(dtype, opset))
    if not every_tensor:
        graph.nodes = _without_copies(graph.nodes)
    others = [layer.name for layer in net.layers[:-1]] if every_tensor else []
    model = _model(net, graph, size, (net.output, *others))
    with atomic_write(Path(path), overwrite) as stream:
        stream.write(model.SerializeToString(deterministic=True))


def _model(net: Network, graph: Graph, size: Size | None, outputs: Sequence[str]) -> Any:
    """The graph with its outputs as a model, checked, with the shape of every tensor."""
    onnx = require_onnx()
    opset, shapes = onnx.helper.make_opsetid("", graph.opset), _shapes(net, size)
    info = onnx.helper.make_tensor_value_info
    elem = onnx.TensorProto.DataType.Value(ELEMENTS[graph.dtype])
    proto = onnx.helper.make_graph(
        graph.nodes,
        net.name,
        [info("input", elem, shapes["input"])],
        [info(name, elem, shapes[name]) for name in outputs],
        graph.constants,
    )
    model = onnx.helper.make_model(
        proto,
        opset_imports=[opset],
        ir_version=onnx.helper.find_min_ir_version_for([opset]),
        producer_name=PRODUCER,
        doc_string=f"{net.name}: enlarges by {net.upscale}; NCHW, values in [0, 1]",
    )
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:  # such as a layer called like a parameter
        raise ValueError(f"{net.name} makes no valid ONNX: {first_line(error)}") from None
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def _graph(net: Network, params: Params, graph: Graph) -> Graph:
    channels = {name: shape[2] for name, shape in net.shapes(16, 24).items()}
    for layer, inputs in net.steps():
        own = layer_params(layer, params)
        RULES[type(layer)](graph, layer, inputs, own, channels[inputs[0]])
    return graph


def _without_copies(nodes: list[Any]) -> list[Any]:
    """Let a node whose only reader is an Identity make that one's tensor itself."""
    readers = Counter(name for node in nodes for name in node.input)
    makers = {node.output[0]: node for node in nodes}
    kept = []
    for node in nodes:
        source = node.input[0]
        if node.op_type == "Identity" and source in makers and readers[source] == 1:
            makers[source].output[0] = node.output[0]
            makers[node.output[0]] = makers[source]
        else:
            kept.append(node)
    return kept


def _shapes(net: Network, size: Size | None) -> dict[str, list[int | str]]:
    """Of every tensor, with words for the lengths that are open."""
    if size is not None:
        return {name: [1, c, h, w] for name, (h, w, c) in net.shapes(*size).items()}
    small, large = (net.shapes(side, side) for side in PROBES)
    stated: dict[str, list[int | str]] = {}
    for name, (side, _, channels) in small.items():
        scale = (large[name][0] - side) // (PROBES[1] - PROBES[0])
        more = side - scale * PROBES[0]
        lengths = (_length(word, scale, more) for word in ("height", "width"))
        stated[name] = ["batch", channels, *lengths]
    return stated


def _length(side: str, scale: int, more: int) -> str:
    """A dynamic length in words, such as "2*height", or "width+4" where pixels are added."""
    return f"{side if scale == 1 else f'{scale}*{side}'}{f'{more:+}' if more else ''}"


def _check_options(net: Network, size: Size | None, dtype: str, opset: int) -> None:
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {DTYPES}, got {dtype!r}")
    whole_number("opset", opset, OPSETS.start, OPSETS.stop - 1)
    mirrors = any(isinstance(la, Resize) and la.mode == "bicubic" for la in net.layers)
    least = MIRROR if mirrors else 1
    if size is not None and not (len(size) == 2 and least <= min(size) and max(size) <= 1 << 20):
        raise ValueError(f"size must be height and width from {least} on, got {size}")
