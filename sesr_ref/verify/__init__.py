"""The oracle: error bounds, comparison, golden packs, proofs of collapse."""

from sesr_ref.verify.bounds.walk import SIGMAS, error_bounds
from sesr_ref.verify.comparison.compare import Comparison, compare
from sesr_ref.verify.comparison.diagnose import Fault
from sesr_ref.verify.comparison.inputs import read_input
from sesr_ref.verify.comparison.tally import TensorReport
from sesr_ref.verify.equivalence import assert_equivalent
from sesr_ref.verify.golden.match import PackMatch, TensorMatch, match_pack
from sesr_ref.verify.golden.read import Pack, read_pack
from sesr_ref.verify.golden.write import write_pack
from sesr_ref.verify.integers import LayerVerdict, PortVerdict, judge_port
from sesr_ref.verify.proof import Check, prove

__all__ = [
    "SIGMAS",
    "Check",
    "Comparison",
    "Fault",
    "LayerVerdict",
    "Pack",
    "PackMatch",
    "PortVerdict",
    "TensorMatch",
    "TensorReport",
    "assert_equivalent",
    "compare",
    "error_bounds",
    "judge_port",
    "match_pack",
    "prove",
    "read_input",
    "read_pack",
    "write_pack",
]
