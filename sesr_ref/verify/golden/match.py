"""Match a port's stored values with those of a golden pack: equal, or how many steps apart.

Nothing is computed and no rounding error is allowed for: this is for ports with the arithmetic of a
pack (`sesr_ref.verify.golden.rounded_run`), above all in integers.  `compare` is for all others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.arrays_file import Stored, map_npy
from sesr_ref.limits import check, listed, naming, shown, whole_number
from sesr_ref.ops.arrays import check_array, check_shape
from sesr_ref.verify.golden.encodings import ENCODINGS, KINDS, Kind
from sesr_ref.verify.golden.manifest import MANIFEST, Entry, checked_entries, to_axes
from sesr_ref.verify.golden.read import read_pack

READERS = {encoding.suffix: encoding.read for encoding in ENCODINGS.values()}
READERS[".raw"] = READERS[".bin"]


@dataclass(frozen=True)
class TensorMatch:
    """Differences of one tensor's stored values from the pack's, in units in the last place."""

    name: str
    values: int
    differing: int
    most_steps: int
    at: tuple[int, ...] | None
    expected: float | None
    got: float | None


@dataclass(frozen=True)
class PackMatch:
    """Result of `match_pack`, in the network's order; each value may differ by `steps`."""

    steps: int
    tensors: tuple[TensorMatch, ...]
    missing: tuple[str, ...]

    @property
    def first_wrong(self) -> TensorMatch | None:
        """The first tensor with a value that differs by more than `steps`."""
        return next((tensor for tensor in self.tensors if tensor.most_steps > self.steps), None)

    @property
    def agrees(self) -> bool:
        """Whether no tensor is wrong."""
        return self.first_wrong is None

    def __str__(self) -> str:
        """Give the verdict in one line."""
        wrong = self.first_wrong
        if wrong is None:
            values = sum(tensor.values for tensor in self.tensors)
            how = "bit for bit" if not self.steps else f"within {self.steps} step(s)"
            return f"agrees {how}: {values} values of {len(self.tensors)} tensors"
        return (
            f"{wrong.name} is the first tensor shown that differs: {wrong.differing} of "
            f"{wrong.values} values, by up to {wrong.most_steps} step(s), most at {wrong.at}: "
            f"{wrong.got:.9g} instead of {wrong.expected:.9g}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        tensors = [asdict(tensor) for tensor in self.tensors]
        return {
            "agrees": self.agrees,
            "steps": self.steps,
            "tensors": tensors,
            "missing": self.missing,
        }


def match_pack(
    pack: str | Path, candidate: Mapping[str, Stored] | str | Path, steps: int = 0
) -> PackMatch:
    """Match stored values with a golden pack's.

    Parameters
    ----------
    pack : path
        The golden pack; its hashes are checked.
    candidate : mapping, or path
        Arrays by the tensors' names, in the pack's type and layout; or a folder of such files
        (.npy, .bin, .raw, .hex as ``$writememh`` writes it, .h), one such file, which must be the
        output, or another pack.
    steps : int
        How many units in the last place each value may differ by.

    Returns
    -------
    PackMatch

    Raises
    ------
    ValueError
        For a pack or file that is not what it claims, an unknown name, a type, shape or number of
        fraction bits other than the pack's, or no tensor at all.
    OSError
        If a file cannot be read.
    """
    whole_number("steps", steps, 0)
    golden = read_pack(pack)
    entries = {e.name: e for e in checked_entries(golden.manifest) if e.role == "tensor"}
    given = candidate
    if not isinstance(given, Mapping):
        given = _read(Path(given), golden.net.output, entries)
    for name in given:
        _check_known(name, entries)
    matches = [
        _match(entry, to_axes(golden.tensors[name], entry.axes), given[name])
        for name, entry in entries.items()
        if name in given
    ]
    if not matches:
        raise ValueError(f"the candidate contains none of the tensors {listed(entries)}")
    return PackMatch(steps, tuple(matches), tuple(name for name in entries if name not in given))


def _check_known(name: str, entries: Mapping[str, Entry]) -> None:
    if name not in entries:
        raise ValueError(f"the pack has no tensor {shown(name)}; known: {listed(entries)}")


def _read(path: Path, output: str, entries: Mapping[str, Entry]) -> dict[str, Stored]:
    if not path.is_dir():
        return {output: read_stored(path, entries[output].shape, entries[output].dtype)}
    if (path / MANIFEST).is_file():
        return _read_other(path, entries)
    found: dict[str, Stored] = {}
    for file in sorted(path.iterdir()):
        if (suffix := file.suffix.lower()) in READERS or suffix == ".npy":
            name = file.stem.removeprefix("tensor.")
            if name in found:
                raise ValueError(f"{path}: two files are of tensor {name!r}")
            with naming(file):
                _check_known(name, entries)
            found[name] = read_stored(file, entries[name].shape, entries[name].dtype)
    return found


def read_stored(path: Path, shape: tuple[int, ...], dtype: str) -> Stored:
    """Read a file of stored values.

    Parameters
    ----------
    path : Path
        .npy, .bin, .raw, .hex or .h.
    shape : tuple of int
        Of the values; a .npy states its own.
    dtype : str
        A key of `KINDS`; a .npy states its own.

    Returns
    -------
    array

    Raises
    ------
    ValueError
        If the file is of another kind, or does not hold such values.
    OSError
        If it cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return map_npy(path)
    needed = f".npy, {', '.join(READERS)}, or a folder of such files"
    check(suffix in READERS, f"{path}: a candidate", needed, suffix)
    what = f"{path}: not {shape} of {dtype}"
    limit = 64 * (math.prod(shape) + 4096)  # text is larger than its values
    size = path.stat().st_size
    check(size <= limit, f"{what}: the size", f"at most {limit} bytes", size)
    with naming(what, (ValueError, OverflowError)):
        stored = READERS[suffix](path.read_bytes(), KINDS[dtype])
        return stored.reshape(shape)


def _read_other(path: Path, entries: Mapping[str, Entry]) -> dict[str, Stored]:
    """Tensors of another pack, in the layout and type of this one."""
    other, found = read_pack(path), {}
    for entry in checked_entries(other.manifest):
        own = entries.get(entry.name)
        if entry.role != "tensor" or own is None:
            continue
        if (entry.dtype, entry.fraction_bits) != (own.dtype, own.fraction_bits):
            raise ValueError(
                f"{path}: {entry.name} must be {own.dtype} with {own.fraction_bits} fraction bits, "
                f"got {entry.dtype} with {entry.fraction_bits}: use golden --scales to set them"
            )
        values = to_axes(other.tensors[entry.name], own.axes) * 2.0**own.fraction_bits
        found[entry.name] = values.astype(KINDS[own.dtype].dtype)
    return found


def _match(entry: Entry, golden: Stored, got: Stored) -> TensorMatch:
    kind = KINDS[entry.dtype]
    want = (golden * 2.0**entry.fraction_bits).astype(kind.dtype)
    check_array(entry.name, got)
    check_shape(f"{entry.name} ({entry.axes})", got, want.shape)
    fits = got.dtype.kind in "iu" if kind.is_integer else got.dtype == np.dtype(kind.dtype)
    check(fits, entry.name, f"stored as {entry.dtype}", got.dtype)
    apart = np.abs(_places(got, kind) - _places(want, kind))
    place = np.unravel_index(int(apart.argmax()), apart.shape) if apart.any() else None
    return TensorMatch(
        entry.name,
        apart.size,
        int(np.count_nonzero(apart)),
        int(apart.max(initial=0)),
        None if place is None else tuple(int(i) for i in place),
        None if place is None else float(want[place]),
        None if place is None else float(got[place]),
    )


def _places(stored: Stored, kind: Kind) -> Stored:
    """Number the values of a type from zero on: neighbours differ by one."""
    if kind.is_integer:
        return stored.astype(np.int64)
    bits = np.ascontiguousarray(stored).view(f"<i{stored.itemsize}").astype(np.int64)
    return np.where(bits < 0, -(bits & ((1 << (8 * stored.itemsize - 1)) - 1)), bits)
