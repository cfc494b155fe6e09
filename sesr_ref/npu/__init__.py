"""NPU cost model: hardware as data, a network lowered to passes, bytes and time of each.

`estimate` is the way in; `Npu` describes hardware.
"""

from sesr_ref.npu.estimate import MODELS, Estimate, PassEstimate, estimate
from sesr_ref.npu.hardware import (
    ETHOS_N78_4TOPS,
    ETHOS_N78_4TOPS_1MB,
    PRESETS,
    Npu,
    npu_from_toml,
    npu_named,
)

__all__ = [
    "ETHOS_N78_4TOPS",
    "ETHOS_N78_4TOPS_1MB",
    "MODELS",
    "PRESETS",
    "Estimate",
    "Npu",
    "PassEstimate",
    "estimate",
    "npu_from_toml",
    "npu_named",
]
