"""An NPU as data: multipliers, memories, formats, and which estimate its maker uses.

The presets are Arm's Ethos-N78.  Their constants come from Arm's open estimator (ethos-n-driver-
stack, support library 20.08/20.11).  The paper does not state the settings of its Table 3; they are
inferred from running that estimator.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sesr_ref.extras import need
from sesr_ref.files import check_regular
from sesr_ref.limits import check, is_int, naming, shown

MAX_TOML_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Npu:
    """A convolution engine (MCE) with an SRAM, a post-processing engine (PLE) and a DRAM.

    Parameters
    ----------
    name : str
        Shown in messages and tables.
    input_groups, output_groups, units : int
        Input channels and output channels processed at once, and multipliers for each pair; their
        product is the multiply-accumulates per cycle.
    clock_hz : float
        Clock of both engines.
    sram_bytes, sram_banks : int
        On-chip memory; channels are rounded up to a multiple of its banks, and every bank has its
        own stream of encoded weights.
    dram_bytes_per_second : float
        Bandwidth for the model "roofline": the maker's figure.
    fitted_bytes_per_second : float
        Bandwidth for "calibrated", "physical" and "ideal": fitted to Table 3.
    brick : (int, int)
        Height and width to which intermediate tensors are rounded up.
    cycle_rows, cycle_columns : int
        Output rows and columns to which direct convolution rounds up.
    winograd : bool
        Whether convolutions use 2 x 2 Winograd if that needs fewer products.
    activation_saving : float
        Share of bytes that compression saves on a DRAM tensor that only convolutions access.
    cascade_estimate : bool
        Whether to apply Arm's "future" estimate, in which passes that fit together skip the DRAM.
    cascade_factor : float
        Share of an input that is on chip at a time, in that estimate.
    ple_code_bytes : int
        SRAM that the PLE's code takes in each bank.
    ple_patch : (int, int, int)
        Height, width and channels that the PLE processes at a time.
    ple_cycles_per_add : float
        Cycles per patch of an addition: fitted to Table 3.
    stripe_slots : int
        Largest number of stripes of one tensor in the SRAM.
    weight_header_bytes, weight_stream_bytes, weight_alignment : int
        Encoded weights: header of an output channel, header of a bank's stream, and the multiple
        to which a stream is rounded up.
    cycles_16bit : float
        Factor on cycles with 16-bit activations and weights: four 8-bit products each.
    picojoules_per_mac, picojoules_per_dram_byte : float, optional
        Energy; it is estimated only if both are given.

    Raises
    ------
    ValueError
        For an impossible value, naming it.
    """

    name: str
    sram_bytes: int
    input_groups: int = 16
    output_groups: int = 16
    units: int = 8
    clock_hz: float = 1.25e9
    sram_banks: int = 16
    dram_bytes_per_second: float = 12e9
    fitted_bytes_per_second: float = 16e9
    brick: tuple[int, int] = (8, 8)
    cycle_rows: int = 4
    cycle_columns: int = 2
    winograd: bool = True
    activation_saving: float = 0.0
    cascade_estimate: bool = False
    cascade_factor: float = 0.2
    ple_code_bytes: int = 4096
    ple_patch: tuple[int, int, int] = (4, 4, 16)
    ple_cycles_per_add: float = 35.0
    stripe_slots: int = 8
    weight_header_bytes: int = 10
    weight_stream_bytes: int = 6
    weight_alignment: int = 16
    cycles_16bit: float = 4.0
    picojoules_per_mac: float | None = None
    picojoules_per_dram_byte: float | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            accept, needed = _ACCEPTED[str(field.type)]
            if field.name in _SHARES:
                accept, needed = _is_share, "a number of at least 0 and below 1"
            value = getattr(self, field.name)
            check(accept(value), f"Npu: {field.name}", needed, value)

    @property
    def macs_per_cycle(self) -> int:
        """Multiply-accumulates per cycle with every unit busy."""
        return self.input_groups * self.output_groups * self.units

    @property
    def macs_per_second(self) -> float:
        """Multiply-accumulates per second with every unit busy."""
        return self.macs_per_cycle * self.clock_hz


_SHARES = ("activation_saving", "cascade_factor")


def _is_int(value: Any) -> bool:
    return is_int(value) and 1 <= value <= 1 << 40


def _is_float(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0


def _is_share(value: Any) -> bool:
    return value == 0 or (_is_float(value) and value < 1)


def _are_ints(value: Any, count: int) -> bool:
    return isinstance(value, tuple) and len(value) == count and all(_is_int(v) for v in value)


_ACCEPTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "str": (lambda value: isinstance(value, str) and bool(value), "a non-empty text"),
    "int": (_is_int, "a positive integer"),
    "float": (_is_float, "a positive number"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "tuple[int, int]": (lambda value: _are_ints(value, 2), "two positive integers"),
    "tuple[int, int, int]": (lambda value: _are_ints(value, 3), "three positive integers"),
    "float | None": (lambda value: value is None or _is_float(value), "a positive number"),
}

_FUTURE: dict[str, Any] = {"activation_saving": 0.5, "cascade_estimate": True}

ETHOS_N78_4TOPS = Npu(name="ethos-n78-4tops", sram_bytes=4 << 20, **_FUTURE)
"""The set-up that reproduces Table 3: largest SRAM, compression saving 0.5, "future" estimate."""
ETHOS_N78_4TOPS_1MB = Npu(name="ethos-n78-4tops-1mb", sram_bytes=1 << 20, **_FUTURE)
"""The same with the default SRAM."""

PRESETS: dict[str, Npu] = {
    npu.name: npu
    for npu in (
        Npu(
            name="ethos-n78-1tops",
            sram_bytes=448 << 10,
            sram_banks=8,
            input_groups=8,
            output_groups=8,
            ple_patch=(4, 4, 4),
            **_FUTURE,
        ),
        Npu(
            name="ethos-n78-2tops",
            sram_bytes=768 << 10,
            sram_banks=8,
            input_groups=8,
            output_groups=16,
            ple_patch=(4, 4, 8),
            **_FUTURE,
        ),
        ETHOS_N78_4TOPS,
        ETHOS_N78_4TOPS_1MB,
        Npu(name="ethos-n78-8tops", sram_bytes=2 << 20, output_groups=32, **_FUTURE),
    )
}
"""By name; only the 4 TOPS presets were compared with Arm's estimator, the others follow its
list."""


def npu_named(name: str) -> Npu:
    """Look up a preset.

    Parameters
    ----------
    name : str
        A key of `PRESETS`.

    Returns
    -------
    Npu

    Raises
    ------
    ValueError
        If the name is unknown, listing the known ones.
    """
    check(name in PRESETS, "an NPU's name", f"one of {', '.join(PRESETS)}", name)
    return PRESETS[name]


def check_npu(npu: Npu) -> None:
    """Raise ValueError unless `npu` is an Npu."""
    needed = f"an Npu, as npu_named({ETHOS_N78_4TOPS.name!r}) returns it"
    check(isinstance(npu, Npu), "the NPU", needed, npu)


def npu_from_toml(path: str | Path) -> Npu:
    """Read an NPU from a TOML file.

    Parameters
    ----------
    path : str or Path
        Its top-level keys are the parameters of `Npu`; ``base = "ethos-n78-4tops"`` takes the
        missing ones from a preset.  `docs/cost-model.md` has an example.

    Returns
    -------
    Npu

    Raises
    ------
    ValueError
        For malformed TOML, an unknown or missing key, an impossible value, or anything but a
        regular file of at most 64 KiB.
    OSError
        If the file cannot be read.
    """
    data = _parsed(Path(path))
    known = ["base", *(field.name for field in dataclasses.fields(Npu))]
    stated: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in data.items()
        if key != "base"
    }
    with naming(path):
        if unknown := sorted(set(data) - set(known)):
            raise ValueError(f"unknown key {shown(unknown[0])}; known: {', '.join(known)}")
        if "base" in data:
            return dataclasses.replace(npu_named(str(data["base"])), **stated)
        if missing := [key for key in ("name", "sram_bytes") if key not in stated]:
            raise ValueError(f"{missing[0]!r} is missing (or state a base)")
        return Npu(**stated)


def _parsed(path: Path) -> dict[str, Any]:
    package = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    toml = need(package, "all", "TOML files on Python 3.10")
    check_regular(path)
    with path.open("rb") as file:
        content = file.read(MAX_TOML_BYTES + 1)
    needed = f"at most {MAX_TOML_BYTES} bytes"
    check(len(content) <= MAX_TOML_BYTES, f"{path}: the file", needed, path.stat().st_size)
    with naming(f"{path}: not TOML", (toml.TOMLDecodeError, UnicodeDecodeError)):
        table: dict[str, Any] = toml.loads(content.decode("utf-8"))
        return table
