"""NPU cost model: hardware as data, a network lowered to passes, bytes and time of each pass.

`Npu` describes hardware; `estimate` computes what a network costs on it.
"""

from sesr_ref.npu.depth_first import DepthFirst, depth_first
from sesr_ref.npu.estimator import MODELS, Estimate, PassEstimate, estimate
from sesr_ref.npu.hardware import (
    ETHOS_N78_4TOPS,
    ETHOS_N78_4TOPS_1MB,
    PRESETS,
    Npu,
    npu_from_toml,
    npu_named,
)
from sesr_ref.npu.tiles import TileEstimate, TilePlan, plan_tiles

__all__ = [
    "ETHOS_N78_4TOPS",
    "ETHOS_N78_4TOPS_1MB",
    "MODELS",
    "PRESETS",
    "DepthFirst",
    "Estimate",
    "Npu",
    "PassEstimate",
    "TileEstimate",
    "TilePlan",
    "depth_first",
    "estimate",
    "npu_from_toml",
    "npu_named",
    "plan_tiles",
]
