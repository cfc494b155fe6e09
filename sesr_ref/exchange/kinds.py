"""What a file is by its content, whatever its name says."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

from sesr_ref.files import check_regular

HEAD_BYTES = 512


class Kind(NamedTuple):
    """A kind of file: its key, what it is, and what to do about one that is not supported."""

    key: str
    words: str
    advice: str = ""

    def __str__(self) -> str:
        """What it is, and what to do."""
        return f"{self.words}: {self.advice}" if self.advice else self.words


AS_ONNX = "export the model as ONNX"
STATE = "save the module's state_dict() instead"
EMPTY = Kind("empty", "an empty file")
TORCH = Kind("torch", "a PyTorch file")
OLD_TORCH = Kind("old-torch", "a PyTorch file from before version 1.6")
ONNX = Kind("onnx", "an ONNX model")
NPZ = Kind("npz", "an .npz archive of arrays")
SAFETENSORS = Kind("safetensors", "a safetensors file")
SCRIPT = Kind("script", "a TorchScript archive, which holds a program", STATE)
PICKLE = Kind("pickle", "a Python pickle, which may hold a program", STATE)

STARTS: tuple[tuple[int, bytes, Kind], ...] = (
    (
        *(0, b"version https://git-lfs"),
        Kind(
            "lfs", "a Git LFS pointer, not the file it stands for", "fetch that with git lfs pull"
        ),
    ),
    (0, b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", OLD_TORCH),
    (0, b"\x93NUMPY", Kind("npy", "a single array", "save all of them with numpy.savez")),
    (0, b"\x89HDF\r\n\x1a\n", Kind("hdf5", "an HDF5 file, such as Keras writes", AS_ONNX)),
    (4, b"TFL3", Kind("tflite", "a TensorFlow Lite model", AS_ONNX)),
    (0, b"\x1f\x8b", Kind("gzip", "compressed by gzip", "unpack it first")),
    (0, b"7z\xbc\xaf\x27\x1c", Kind("7z", "a 7-Zip archive", "unpack it first")),
    (0, b"Rar!", Kind("rar", "a RAR archive", "unpack it first")),
    (257, b"ustar", Kind("tar", "a tar archive", "unpack it first")),
    (0, b"\x89PNG", Kind("png", "a PNG picture")),
    (0, b"\xff\xd8\xff", Kind("jpeg", "a JPEG picture")),
    (0, b"%PDF", Kind("pdf", "a PDF document")),
)
"""Kinds by what stands at a place near the start."""
ONNX_FIELDS = (b"\x12", b"\x1a", b"\x22", b"\x28", b"\x32", b"\x3a", b"\x42", b"\x72")
"""Bytes with which the fields of an ONNX model begin."""
PAGES = (b"<!doctype html", b"<html", b"<?xml", b"<head")
PAGE = Kind("html", "a web page saved as a file", "download the file itself")
NAMES: dict[str, Kind] = {
    ".pb": Kind("pb", "a TensorFlow graph (.pb)", AS_ONNX),
    ".pkl": PICKLE,
    ".pickle": PICKLE,
    ".h5": Kind("h5", "a Keras file (.h5)", AS_ONNX),
    ".keras": Kind("keras", "a Keras file", AS_ONNX),
    ".tflite": Kind("tflite", "a TensorFlow Lite model", AS_ONNX),
    ".pt2": Kind("pt2", "a program of torch.export (.pt2)", AS_ONNX),
    ".param": Kind("ncnn", "an ncnn model", AS_ONNX),
    ".mlmodel": Kind("coreml", "a Core ML model", AS_ONNX),
}
"""Kinds that only the end of the name tells."""


def check_kind(path: Path, *known: Kind) -> None:
    """Raise ValueError if a file is of another kind than these; one that cannot be told passes."""
    kind = kind_of(path)
    if kind not in (*known, None):
        raise ValueError(f"not {known[0].words} but {kind}")


def kind_of(path: Path) -> Kind | None:
    """Tell what a file is.

    Parameters
    ----------
    path : Path
        Of a regular file.

    Returns
    -------
    Kind or None
        None if neither its content nor its name tells.

    Raises
    ------
    ValueError
        If it is a pipe or a device.
    FileNotFoundError
        If it is missing, or a link to a missing file.
    OSError
        If it cannot be read, or is a folder.
    """
    check_regular(path)
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    if not head:
        return EMPTY
    for place, magic, kind in STARTS:
        if head.startswith(magic, place):
            return kind
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGES):
        return PAGE
    if head.startswith(b"PK\3\4"):
        return _archive(path)
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return PICKLE
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return SAFETENSORS
    if _is_onnx(head):
        return ONNX
    return NAMES.get(path.suffix.lower())


def _is_onnx(head: bytes) -> bool:
    """Whether it begins as ONNX does: with the version of its format, then another field."""
    version, field = head[1:2], head[2:3]
    return head[:1] == b"\x08" and b"\x03" <= version < b"\x20" and field in ONNX_FIELDS


def _archive(path: Path) -> Kind | None:
    """What a zip archive holds, by the names of its members."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, OSError):
        return None
    ends = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in ends:
        return SCRIPT
    if "data.pkl" in ends:
        return TORCH
    if names and all(name.endswith(".npy") for name in names):
        return NPZ
    if {"archive_format", "archive_version", "serialized_exported_program.json"} & ends:
        return NAMES[".pt2"]
    if "model.weights.h5" in ends:
        return NAMES[".keras"]
    return Kind("zip", "a zip archive", "unpack it first")
