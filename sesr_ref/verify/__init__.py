"""The oracle: bounds, comparison, golden packs, proofs of collapse."""

from sesr_ref.verify.bounds import SIGMAS, error_bounds
from sesr_ref.verify.comparison import Comparison, compare
from sesr_ref.verify.diagnose import Fault
from sesr_ref.verify.equivalence import assert_equivalent
from sesr_ref.verify.golden import write_pack
from sesr_ref.verify.inputs import read_input
from sesr_ref.verify.matching import PackMatch, TensorMatch, match_pack
from sesr_ref.verify.pack import Pack, read_pack
from sesr_ref.verify.proof import Check, prove
from sesr_ref.verify.tally import TensorReport

__all__ = [
    "SIGMAS",
    "Check",
    "Comparison",
    "Fault",
    "Pack",
    "PackMatch",
    "TensorMatch",
    "TensorReport",
    "assert_equivalent",
    "compare",
    "error_bounds",
    "match_pack",
    "prove",
    "read_input",
    "read_pack",
    "write_pack",
]
