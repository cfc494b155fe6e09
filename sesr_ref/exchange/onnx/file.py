"""Reading an ONNX file without trusting it: sizes, external data, order, types."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

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
        A file; external data is read only from files below its folder.

    Returns
    -------
    onnx.ModelProto
        Valid for onnx.checker, with all data inside.

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
    _check_order(model)
    _load_external(path, model)
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


def place_of(index: int, node: Any) -> str:
    """How errors name a node: its position, operator and name."""
    name = node.name or (node.output[0] if node.output else "")
    return f"node {index} ({node.op_type} {name!r})"


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
    known = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT32", "INT64", "BOOL")
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
    """Refuse text that is not UTF-8, which protobuf hands on as bytes."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            texts = [value] if isinstance(value, (str, bytes)) else value
            if any(isinstance(text, bytes) for text in texts):
                raise ValueError(f"its {field.full_name} is not UTF-8")
        elif field.type == field.TYPE_MESSAGE:
            for inner in [value] if hasattr(value, "ListFields") else value:
                _check_text(inner)


def _check_order(model: Any) -> None:
    """Refuse a node that reads what only a later node makes."""
    graph = model.graph
    made = {out: i for i, node in enumerate(graph.node) for out in node.output}
    for i, node in enumerate(graph.node):
        for name in node.input:
            if made.get(name, -1) >= i:
                maker = place_of(made[name], graph.node[made[name]])
                raise ValueError(
                    f"{place_of(i, node)} reads {name!r}, which is made by {maker}: "
                    "a cycle, or nodes out of order"
                )


def _load_external(path: Path, model: Any) -> None:
    left = MAX_BYTES
    for tensor in _tensors(model):
        if tensor.data_location != tensor.EXTERNAL:
            continue
        data = _external_bytes(path, tensor, left)
        left -= len(data)
        tensor.raw_data = data
        tensor.data_location = tensor.DEFAULT
        del tensor.external_data[:]


def _tensors(model: Any) -> Iterator[Any]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def _external_bytes(path: Path, tensor: Any, limit: int) -> bytes:
    stated: dict[str, str] = {entry.key: entry.value for entry in tensor.external_data}
    location = stated.get("location", "")
    folder = path.parent.resolve()
    target = (folder / location).resolve()
    outside = not target.is_relative_to(folder) or PureWindowsPath(location).drive
    if not location or outside or Path(location).is_absolute():
        raise ValueError(
            f"tensor {tensor.name!r} wants external data from {location!r}, "
            "outside the model's folder: refused"
        )
    if not target.is_file():
        raise ValueError(f"tensor {tensor.name!r}: there is no file {location!r}")
    try:
        offset = int(stated.get("offset", 0))
        length = int(stated.get("length", target.stat().st_size - offset))
    except ValueError:
        raise ValueError(f"tensor {tensor.name!r}: offset or length is no number") from None
    if offset < 0 or not 0 <= length <= limit or offset + length > target.stat().st_size:
        raise ValueError(
            f"tensor {tensor.name!r} wants bytes {offset} to {offset + length} of "
            f"{location!r}, which has {target.stat().st_size}"
        )
    with target.open("rb") as stream:
        stream.seek(offset)
        return bytes(stream.read(length))


def first_line(error: Exception) -> str:
    """What an error says first, for messages of one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
