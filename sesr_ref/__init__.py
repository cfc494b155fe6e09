"""NumPy reference engine for super-resolution networks of collapsible linear blocks (SESR)."""

import importlib
from typing import TYPE_CHECKING, Any

from sesr_ref.architectures import (
    architecture,
    architectures,
    carn_m,
    fsrcnn,
    lapsrn,
    sesr,
    vdsr,
)
from sesr_ref.collapse import (
    collapse_params,
    collapse_params_vjp,
    collapsed,
    expand_params,
    expanded,
)
from sesr_ref.counting import cost
from sesr_ref.engine import loss_and_grads, run
from sesr_ref.evaluate import upscale_image
from sesr_ref.evaluate.metrics import psnr, ssim
from sesr_ref.execute import backward, forward
from sesr_ref.images import imresize, read_image, rgb_to_ycbcr, write_image, ycbcr_to_rgb
from sesr_ref.moved import install as _install_moved
from sesr_ref.network import Composite, Network
from sesr_ref.ops.table import REFERENCE, Ops, fast
from sesr_ref.params import initialise, load, save
from sesr_ref.train.warm_start import transfer

if TYPE_CHECKING:
    from sesr_ref.exchange import from_onnx, load_any, to_onnx
    from sesr_ref.exchange.c import to_c
    from sesr_ref.exchange.tflite import from_tflite, to_tflite
    from sesr_ref.integers import (
        Grid,
        Quantization,
        calibrate,
        forward_int,
        load_quantized,
        quantize,
        run_int,
        save_quantized,
    )
    from sesr_ref.npu import (
        ETHOS_N78_4TOPS,
        ETHOS_N78_4TOPS_1MB,
        Npu,
        estimate,
        npu_named,
        plan_tiles,
    )
    from sesr_ref.verify import compare, error_bounds

__all__ = [
    "ETHOS_N78_4TOPS",
    "ETHOS_N78_4TOPS_1MB",
    "REFERENCE",
    "Composite",
    "Grid",
    "Network",
    "Npu",
    "Ops",
    "Quantization",
    "architecture",
    "architectures",
    "backward",
    "calibrate",
    "carn_m",
    "collapse_params",
    "collapse_params_vjp",
    "collapsed",
    "compare",
    "cost",
    "error_bounds",
    "estimate",
    "expand_params",
    "expanded",
    "fast",
    "forward",
    "forward_int",
    "from_onnx",
    "from_tflite",
    "fsrcnn",
    "imresize",
    "initialise",
    "lapsrn",
    "load",
    "load_any",
    "load_quantized",
    "loss_and_grads",
    "npu_named",
    "plan_tiles",
    "psnr",
    "quantize",
    "read_image",
    "rgb_to_ycbcr",
    "run",
    "run_int",
    "save",
    "save_quantized",
    "sesr",
    "ssim",
    "to_c",
    "to_onnx",
    "to_tflite",
    "transfer",
    "upscale_image",
    "vdsr",
    "write_image",
    "ycbcr_to_rgb",
]

# Imported on first use, so that `import sesr_ref` stays quick.
_LATER = {
    **dict.fromkeys(("from_onnx", "load_any", "to_onnx"), "sesr_ref.exchange"),
    "to_c": "sesr_ref.exchange.c",
    **dict.fromkeys(("from_tflite", "to_tflite"), "sesr_ref.exchange.tflite"),
    **dict.fromkeys(
        ("ETHOS_N78_4TOPS", "ETHOS_N78_4TOPS_1MB", "Npu", "estimate", "npu_named", "plan_tiles"),
        "sesr_ref.npu",
    ),
    **dict.fromkeys(("compare", "error_bounds"), "sesr_ref.verify"),
    **dict.fromkeys(
        (
            "Grid",
            "Quantization",
            "calibrate",
            "forward_int",
            "load_quantized",
            "quantize",
            "run_int",
            "save_quantized",
        ),
        "sesr_ref.integers",
    ),
}

_install_moved()  # import paths of version 0.1


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'sesr_ref' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
