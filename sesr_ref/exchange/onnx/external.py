"""ONNX's external data: numbers in files beside the model, or beside what it is a link to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

from sesr_ref.files import broken_link


def load_external(path: Path, model: Any, limit: int) -> None:
    """Take external data into the model.

    Parameters
    ----------
    path : Path
        Of the model; a link, as in the caches of model hubs, counts as lying in both folders, its
        own and that of the file it leads to.
    model : onnx.ModelProto
        Changed in place.
    limit : int
        Bytes of all external data at most.

    Raises
    ------
    ValueError
        If a tensor wants data from elsewhere, more than there is, or too much.
    """
    for tensor in _tensors(model):
        if tensor.data_location != tensor.EXTERNAL:
            continue
        data = _external_bytes(path, tensor, limit)
        limit -= len(data)
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
    target = _found(path, tensor.name, location)
    held = target.stat().st_size
    try:
        offset = int(stated.get("offset", 0))
        length = int(stated.get("length", held - offset))
    except ValueError:
        raise ValueError(f"tensor {tensor.name!r}: offset or length is no number") from None
    if offset < 0 or not 0 <= length <= limit or offset + length > held:
        raise ValueError(
            f"tensor {tensor.name!r} wants bytes {offset} to {offset + length} of "
            f"{location!r}, which has {held}"
        )
    with target.open("rb") as stream:
        stream.seek(offset)
        return bytes(stream.read(length))


def _found(path: Path, tensor: str, location: str) -> Path:
    """The file at a place that is stated relative to the model's folder."""
    stated = Path(location)
    leaves = stated.is_absolute() or PureWindowsPath(location).drive or ".." in stated.parts
    folders = [path.parent, path.resolve().parent]
    places = [folder / location for folder in folders]
    files = [place for place in places if place.is_file()]
    inside = [f for f in files if any(f.resolve().is_relative_to(d.resolve()) for d in folders)]
    if not location or leaves or (files and not inside):
        raise ValueError(
            f"tensor {tensor!r} wants external data from {location!r}, outside the model's "
            "folder: rejected"
        )
    if not inside:
        broken = next(filter(None, map(broken_link, places)), "")
        raise ValueError(f"tensor {tensor!r}: {broken or f'there is no file {location!r}'}")
    return inside[0]
