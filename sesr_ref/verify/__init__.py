"""The oracle: bounds, comparison, golden packs, proofs of collapse."""

from sesr_ref.verify.bounds import SIGMAS, error_bounds
from sesr_ref.verify.comparison import Comparison, compare
from sesr_ref.verify.diagnose import Fault
from sesr_ref.verify.inputs import read_input
from sesr_ref.verify.tally import TensorReport

__all__ = [
    "SIGMAS",
    "Comparison",
    "Fault",
    "TensorReport",
    "compare",
    "error_bounds",
    "read_input",
]
