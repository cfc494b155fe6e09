"""Networks in integers: grids, calibration, exact runs in the arithmetic of named runtimes."""

from sesr_ref.integers.arithmetic import ARITHMETICS
from sesr_ref.integers.calibration import calibrate
from sesr_ref.integers.grid import Grid, Quantization
from sesr_ref.integers.parameters import quantize
from sesr_ref.integers.run import forward_int, run_int

__all__ = [
    "ARITHMETICS",
    "Grid",
    "Quantization",
    "calibrate",
    "forward_int",
    "quantize",
    "run_int",
]
