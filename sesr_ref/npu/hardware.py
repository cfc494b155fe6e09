"""What an NPU is, as data: multipliers, memories, formats, and which estimate its maker uses.

The presets are Arm's Ethos-N78.  Their constants come from Arm's open estimator (ethos-n-driver-
stack, support library 20.08/20.11); what Table 3 of the paper was made with is inferred from
running that, since the paper states none of it.
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
from sesr_ref.limits import is_int

MAX_TOML_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Npu:
    """A convolution engine (MCE) with an SRAM, a post-processing engine (PLE) and a DRAM.

    Parameters
    ----------
    name : str
        For people.
    input_groups, output_groups, units : int
        Input channels and output channels worked on at once, and multipliers for each pair; their
        product is the multiply-accumulates per cycle.
    clock_hz : float
        Of both engines.
    sram_bytes, sram_banks : int
        On-chip memory; channels are rounded up to its banks there, and every bank has its own
        stream of encoded weights.
    dram_bytes_per_second : float
        The bandwidth that the model "roofline" takes: the maker's figure.
    fitted_bytes_per_second : float
        The one of "calibrated", "physical" and "ideal": fitted to Table 3.
    brick : (int, int)
        Height and width to which intermediate tensors are rounded up.
    cycle_rows, cycle_columns : int
        Output rows and columns to which direct convolution rounds up.
    winograd : bool
        Whether convolutions take 2 x 2 Winograd where that needs fewer products.
    activation_saving : float
        Share of bytes that compression saves on a DRAM tensor which only convolutions touch.
    cascade_estimate : bool
        Apply Arm's "future" estimate, which lets passes that fit together skip the DRAM.
    cascade_factor : float
        Its share of an input that is on chip at a time.
    ple_code_bytes : int
        SRAM taken in each bank by the PLE's code.
    ple_patch : (int, int, int)
        Height, width and channels of what the PLE works on at a time.
    ple_cycles_per_add : float
        Cycles per patch of an addition: fitted to Table 3.
    stripe_slots : int
        Stripes of one tensor that the SRAM may hold.
    weight_header_bytes, weight_stream_bytes, weight_alignment : int
        Encoded weights: header of an output channel, of a bank's stream, and its rounding.
    cycles_16bit : float
        Times as many cycles with 16-bit activations and weights: four 8-bit products each.
    picojoules_per_mac, picojoules_per_dram_byte : float, optional
        Energy; no estimate of it unless both are given.

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
                accept, needed = _is_share, "a number from 0 up to, not including, 1"
            if not accept(value := getattr(self, field.name)):
                raise ValueError(f"Npu: {field.name} must be {needed}, got {value!r}")

    @property
    def macs_per_cycle(self) -> int:
        """Multiply-accumulates of one cycle with every unit busy."""
        return self.input_groups * self.output_groups * self.units

    @property
    def macs_per_second(self) -> float:
        """Multiply-accumulates of one second with every unit busy."""
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
"""The set-up that reproduces Table 3: the largest legal SRAM, compression saving 0.5, "future"."""
ETHOS_N78_4TOPS_1MB = Npu(name="ethos-n78-4tops-1mb", sram_bytes=1 << 20, **_FUTURE)
"""The same with the default SRAM."""

PRESETS: dict[str, Npu] = {
    npu.name: npu
    for npu in (
        Npu(
            name="ethos-n78-1tops", sram_bytes=448 << 10, sram_banks=8,
            input_groups=8, output_groups=8, ple_patch=(4, 4, 4), **_FUTURE,
        ),
        Npu(
            name="ethos-n78-2tops", sram_bytes=768 << 10, sram_banks=8,
            input_groups=8, output_groups=16, ple_patch=(4, 4, 8), **_FUTURE,
        ),
        ETHOS_N78_4TOPS,
        ETHOS_N78_4TOPS_1MB,
        Npu(name="ethos-n78-8tops", sram_bytes=2 << 20, output_groups=32, **_FUTURE),
    )
}  # fmt: skip
"""By name.  Only the 4 TOPS ones were compared with Arm's estimator; the others follow its list."""


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
        For an unknown one, with those that are known.
    """
    if name not in PRESETS:
        raise ValueError(f"no NPU is called {name!r}; known: {', '.join(PRESETS)}")
    return PRESETS[name]


def check_npu(npu: Npu) -> None:
    """Raise ValueError unless `npu` is an Npu."""
    if not isinstance(npu, Npu):
        raise ValueError(
            f"an Npu is needed, such as npu_named({ETHOS_N78_4TOPS.name!r}) returns, "
            f"got {npu!r:.200}"
        )


def npu_from_toml(path: str | Path) -> Npu:
    """Read an NPU from a TOML file.

    Parameters
    ----------
    path : str or Path
        Its keys are the parameters of `Npu`, at the top level; ``base = "ethos-n78-4tops"`` takes
        what is not stated from a preset.  `docs/cost-model.md` has an example.

    Returns
    -------
    Npu

    Raises
    ------
    ValueError
        For malformed TOML, an unknown or missing key, an impossible value, or what is no regular
        file of at most 64 KiB.
    OSError
        If the file cannot be read.
    """
    data = _parsed(Path(path))
    known = {field.name for field in dataclasses.fields(Npu)}
    if unknown := sorted(set(data) - known - {"base"}):
        raise ValueError(
            f"{path}: unknown key {unknown[0]!r}; known: base, {', '.join(sorted(known))}"
        )
    stated: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in data.items()
        if key != "base"
    }
    try:
        if "base" in data:
            return dataclasses.replace(npu_named(str(data["base"])), **stated)
        if missing := [key for key in ("name", "sram_bytes") if key not in stated]:
            raise ValueError(f"{missing[0]!r} is missing (or name a base)")
        return Npu(**stated)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _parsed(path: Path) -> dict[str, Any]:
    package = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    toml = need(package, "all", "TOML files on Python 3.10")
    check_regular(path)
    with path.open("rb") as file:
        content = file.read(MAX_TOML_BYTES + 1)
    if len(content) > MAX_TOML_BYTES:
        raise ValueError(f"{path}: larger than {MAX_TOML_BYTES} bytes, no description of an NPU")
    try:
        table: dict[str, Any] = toml.loads(content.decode("utf-8"))
    except (toml.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not TOML: {error}") from None
    return table
