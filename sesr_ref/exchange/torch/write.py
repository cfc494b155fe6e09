"""The archive that torch.save writes for a dictionary of tensors, byte by byte."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Sequence
from typing import IO

from sesr_ref.exchange.modules import Arrays
from sesr_ref.exchange.torch.plain import STORAGES


def write_archive(stream: IO[bytes], arrays: Arrays, beside: dict[str, bytes]) -> None:
    """Write arrays as torch.load reads them; the same arrays always give the same bytes.

    Parameters
    ----------
    stream : binary file
        Where to.
    arrays : dict of arrays
        Of types that PyTorch has.
    beside : dict of bytes
        Members that torch.load does not look at.
    """
    with zipfile.ZipFile(stream, "w") as archive:
        _member(archive, "data.pkl", _pickle(arrays))
        _member(archive, "byteorder", b"little")
        for i, array in enumerate(arrays.values()):
            _member(archive, f"data/{i}", array.astype(array.dtype.newbyteorder("<")).tobytes())
        for name, data in beside.items():
            _member(archive, name, data)
        _member(archive, "version", b"3\n")


def _member(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)  # dated 1980: the same bytes always


def _pickle(arrays: Arrays) -> bytes:
    """The pickle that torch.save writes for an OrderedDict of contiguous tensors."""
    kinds = {dtype: name for name, dtype in STORAGES.items()}
    ordered_dict = b"ccollections\nOrderedDict\n)R"
    items = []
    for i, (name, array) in enumerate(arrays.items()):
        kind = f"ctorch\n{kinds[array.dtype.str[1:]]}\n".encode()
        key = _text(str(i)) + _text("cpu") + _integers(array.size)
        storage = b"(" + _text("storage") + kind + key + b"tQ"
        stride = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
        view = _integers(0) + _tuple_of(array.shape) + _tuple_of(stride) + b"\x89" + ordered_dict
        items += [_text(name), b"ctorch._utils\n_rebuild_tensor_v2\n(", storage, view, b"tR"]
    return b"\x80\x02" + ordered_dict + b"(" + b"".join(items) + b"u."


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _integers(*numbers: int) -> bytes:
    return b"".join(b"J" + struct.pack("<i", number) for number in numbers)


def _tuple_of(numbers: Sequence[int]) -> bytes:
    return b"(" + _integers(*numbers) + b"t"
