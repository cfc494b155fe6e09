"""Reading an ONNX file without trusting it: sizes, text, order of nodes, types of numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.exchange.onnx.external import load_external
from sesr_ref.exchange.onnx.order import sort_nodes
from sesr_ref.exchange.onnx.words import first_line
from sesr_ref.exchange.rounding import bfloat16_values
from sesr_ref.extras import need

MAX_BYTES = 1 << 30
"""Largest file, and largest sum of external data, that is read."""
MAX_NODES = 100_000
MIN_OPSET = 7
PRODUCER = "sesr_ref"
"""Who wrote a file, as we state it; its graph has the network's name."""


def require_onnx() -> Any:
    """Import onnx.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        With the name of the extra that installs it.
    """
    return need("onnx", "onnx", "ONNX files")


def read_model(path: Path) -> Any:
    """Parse and check an ONNX file.

    Parameters
    ----------
    path : Path
        A file; external data is read only from files below its folder, or below that of the file
        that a link leads to.

    Returns
    -------
    onnx.ModelProto
        Valid for onnx.checker, with all data inside and nodes behind those that they read.

    Raises
    ------
    ValueError
        If the file is truncated, too large, has nodes in a cycle, or reads outside its folder.
    """
    onnx = require_onnx()
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{size} bytes, more than {MAX_BYTES}")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError has no common base
        raise ValueError(f"not an ONNX file, or a truncated one ({error})") from None
    if len(model.graph.node) > MAX_NODES:
        raise ValueError(f"{len(model.graph.node)} nodes, more than {MAX_NODES}")
    if not model.graph.node or not model.graph.output:
        raise ValueError("holds no ONNX graph (empty, truncated or another format)")
    _check_text(model)
    sort_nodes(model.graph)
    load_external(path, model, MAX_BYTES)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, UnicodeDecodeError) as error:
        raise ValueError(f"not valid ONNX: {first_line(error)}") from None
    return model


def opset_of(model: Any) -> int:
    """Version of the standard operator set; ValueError below 7, where operators broadcast oddly."""
    versions = (int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if (version := next(versions, 0)) < MIN_OPSET:
        raise ValueError(f"needs opset {MIN_OPSET} or newer, got {version}")
    return version


def tensor_array(tensor: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """A tensor's values; bfloat16 as float32.

    Parameters
    ----------
    tensor : onnx.TensorProto
        With its data inside.

    Returns
    -------
    array

    Raises
    ------
    ValueError
        If its type is not understood or its size is not that of its data.
    """
    onnx = require_onnx()
    integers = ("INT8", "UINT8", "INT16", "UINT16", "INT32", "INT64")
    known = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", *integers, "BOOL")
    kind = onnx.TensorProto.DataType.Name(tensor.data_type)
    if kind not in known:
        raise ValueError(f"tensor {tensor.name!r} holds {kind}; supported are {', '.join(known)}")
    if any(d < 0 for d in tensor.dims) or math.prod(tensor.dims) > MAX_BYTES:
        raise ValueError(f"tensor {tensor.name!r} claims shape {list(tensor.dims)}")
    try:
        if kind == "BFLOAT16":  # which onnx reads in other ways from release to release
            raw = np.frombuffer(tensor.raw_data, "<u2") if tensor.raw_data else tensor.int32_data
            return bfloat16_values(np.array(raw, np.uint16).reshape(tuple(tensor.dims)))
        return np.asarray(onnx.numpy_helper.to_array(tensor))
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"tensor {tensor.name!r}: {first_line(error)}") from None


def _check_text(message: Any) -> None:
    """Reject text that is not UTF-8, which protobuf hands on as bytes."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            texts = [value] if isinstance(value, (str, bytes)) else value
            if any(isinstance(text, bytes) for text in texts):
                raise ValueError(f"its {field.full_name} is not UTF-8")
        elif field.type == field.TYPE_MESSAGE:
            for inner in [value] if hasattr(value, "ListFields") else value:
                _check_text(inner)
