"""Encode golden values: rounded once to a number type, then written as .npz, raw, C or Verilog."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sesr_ref.arrays_file import Stored, open_npz
from sesr_ref.ops.arrays import Array


@dataclass(frozen=True)
class Kind:
    """A number type of a pack: its NumPy type and its C type."""

    dtype: str
    c_type: str

    @property
    def digits(self) -> int:
        """Hexadecimal digits of one value."""
        return 2 * np.dtype(self.dtype).itemsize

    @property
    def is_integer(self) -> bool:
        """Whether values are stored as integers times a power of two."""
        return np.dtype(self.dtype).kind == "i"


KINDS = {
    "float32": Kind("<f4", "float"),
    "float16": Kind("<f2", "uint16_t"),
    "int8": Kind("<i1", "int8_t"),
    "int16": Kind("<i2", "int16_t"),
    "int32": Kind("<i4", "int32_t"),
}


def store(values: Array, kind: Kind, fraction_bits: int | None = None) -> tuple[Stored, int]:
    """Round float64 values once, to nearest with ties to even.

    Parameters
    ----------
    values : float64 array
        Finite.
    kind : Kind
        The type to round to.
    fraction_bits : int, optional
        For integers, which saturate at the ends of their range; by default as many as the largest
        value leaves.

    Returns
    -------
    stored : array
        Of the kind's dtype.
    fraction_bits : int
        ``stored * 2**-fraction_bits`` are the values; 0 for floats.

    Raises
    ------
    ValueError
        If a value is beyond the range of a floating-point type.
    """
    if not kind.is_integer:
        with np.errstate(over="ignore"):
            stored = values.astype(kind.dtype)
        if not np.isfinite(stored).all():
            raise ValueError(f"{np.abs(values).max():.6g} is beyond the range of {kind.dtype[1:]}")
        return stored, 0
    if fraction_bits is None:
        fraction_bits = _fraction_bits(float(np.abs(values).max(initial=0.0)), kind)
    limits = np.iinfo(kind.dtype)
    scaled = np.rint(values * 2.0**fraction_bits)
    return np.clip(scaled, limits.min, limits.max).astype(kind.dtype), fraction_bits


def _fraction_bits(largest: float, kind: Kind) -> int:
    """As many fraction bits as leave room for the largest magnitude."""
    bits = 8 * np.dtype(kind.dtype).itemsize - 1
    fraction_bits = bits - max(int(np.frexp(largest)[1]), -64) if largest else bits
    return fraction_bits - int(np.rint(largest * 2.0**fraction_bits) >= 2.0**bits)


def restore(stored: Stored, fraction_bits: int) -> Array:
    """Return the float64 values of the result of `store`."""
    return np.asarray(stored, np.float64) * 2.0**-fraction_bits


def to_raw(name: str, stored: Stored, kind: Kind, fraction_bits: int) -> bytes:
    """Write the little-endian values in order."""
    return np.ascontiguousarray(stored, kind.dtype).tobytes()


def from_raw(data: bytes, kind: Kind) -> Stored:
    """Read the result of `to_raw`; ValueError unless its size is a multiple of a value's."""
    return np.frombuffer(data, kind.dtype)


def to_hex(name: str, stored: Stored, kind: Kind, fraction_bits: int) -> bytes:
    """Write one value per line, most significant digit first, for Verilog's ``$readmemh``."""
    words = np.ascontiguousarray(stored, kind.dtype).view(f"<u{kind.digits // 2}").ravel()
    scale = f" fraction bits {fraction_bits}" if kind.is_integer else ""
    head = f"// {name} {'x'.join(map(str, stored.shape))}{scale}\n"
    return (head + "".join(f"{int(word):0{kind.digits}x}\n" for word in words)).encode()


def from_hex(data: bytes, kind: Kind) -> Stored:
    """Read the result of `to_hex`; ValueError for invalid words."""
    lines = [line for line in data.decode("ascii").splitlines() if not line.startswith("//")]
    words = np.array([int(line, 16) for line in lines], np.uint64)
    return words.astype(f"<u{kind.digits // 2}").view(kind.dtype)


def to_header(name: str, stored: Stored, kind: Kind, fraction_bits: int) -> bytes:
    """Write a C array: hexadecimal floating-point constants, bits of float16, or integers."""
    symbol = re.sub(r"\W", "_", name)
    shape = ", ".join(map(str, stored.shape))
    lines = [
        f"/* {_comment(name)}: shape {shape} */",
        "#include <stdint.h>",
        f"static const int sesr_{symbol}_shape[{stored.ndim}] = {{{shape}}};",
        *([f"static const int sesr_{symbol}_fraction_bits = {fraction_bits};"] * kind.is_integer),
        f"static const {kind.c_type} sesr_{symbol}[{stored.size}] = {{",
    ]
    flat = np.ascontiguousarray(stored, kind.dtype).ravel()
    if kind.dtype == "<f4":
        words = [f"{float(value).hex()}f" for value in flat]
    elif kind.dtype == "<f2":
        words = [f"0x{int(word):04x}" for word in flat.view("<u2")]
    else:
        words = [str(int(value)) for value in flat]
    rows = [", ".join(words[i : i + 8]) for i in range(0, len(words), 8)]
    return ("\n".join([*lines, ",\n".join(rows), "};\n"])).encode()


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("\n", " ")


def from_header(data: bytes, kind: Kind) -> Stored:
    """Read the result of `to_header`; ValueError for anything else."""
    body = data.decode().rpartition("= {")[2].partition("}")[0]
    words = [word.strip() for word in body.split(",") if word.strip()]
    if kind.dtype == "<f4":
        return np.array([float.fromhex(word.removesuffix("f")) for word in words], kind.dtype)
    values = np.array([int(word, 0) for word in words], np.int64)
    return values.astype("<u2").view("<f2") if kind.dtype == "<f2" else values.astype(kind.dtype)


class Encoding:
    """A way to store each array in a file: its suffix, how to write and to read it."""

    def __init__(
        self,
        suffix: str,
        write: Callable[[str, Stored, Kind, int], bytes],
        read: Callable[[bytes, Kind], Stored],
    ) -> None:
        self.suffix, self.write, self.read = suffix, write, read


ENCODINGS = {
    "bin": Encoding(".bin", to_raw, from_raw),
    "c": Encoding(".h", to_header, from_header),
    "hex": Encoding(".hex", to_hex, from_hex),
}


def to_npz(arrays: Mapping[str, Stored]) -> bytes:
    """Write an uncompressed .npz with fixed dates, so that equal arrays give equal bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue())
    return out.getvalue()


def from_npz(data: bytes) -> dict[str, Stored]:
    """Read the result of `to_npz`; ValueError for pickles and for compressed members."""
    with open_npz(io.BytesIO(data)) as archive:
        # without compression no member is larger than the file, whose size was checked
        if sum(archive.size(name) for name in archive.names) > len(data):
            raise ValueError("the .npz of a pack must not be compressed")
        return {name: archive.read(name) for name in archive.names}
