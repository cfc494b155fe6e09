"""Networks in integers: grids, calibration, exact runs in the arithmetic of named runtimes."""

from sesr_ref.integers.arithmetic import ARITHMETICS
from sesr_ref.integers.calibration import calibrate
from sesr_ref.integers.file import load_quantized, save_quantized
from sesr_ref.integers.grid import Grid, Quantization
from sesr_ref.integers.parameters import quantize
from sesr_ref.integers.run import forward_int, run_int

__all__ = [
    "ARITHMETICS",
    "Grid",
    "Quantization",
    "calibrate",
    "forward_int",
    "load_quantized",
    "quantize",
    "run_int",
    "save_quantized",
]
