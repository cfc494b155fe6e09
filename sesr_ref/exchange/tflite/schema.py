"""Numbers of TFLite's schema that are used here: operators, types, and slots of its tables."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np

IDENTIFIER = b"TFL3"
VERSION = 3

OPERATORS = MappingProxyType(
    {
        "ADD": 0,
        "CONCATENATION": 2,
        "CONV_2D": 3,
        "DEPTHWISE_CONV_2D": 4,
        "DEPTH_TO_SPACE": 5,
        "DEQUANTIZE": 6,
        "RELU": 19,
        "PRELU": 54,
        "TRANSPOSE_CONV": 67,
        "LEAKY_RELU": 98,
        "QUANTIZE": 114,
    }
)
OPTIONS = MappingProxyType(
    {
        "CONV_2D": 1,
        "DEPTHWISE_CONV_2D": 2,
        "CONCATENATION": 10,
        "ADD": 11,
        "TRANSPOSE_CONV": 49,
        "LEAKY_RELU": 75,
        "DEPTH_TO_SPACE": 94,
    }
)
"""Numbers of the union of options."""
NAMES = MappingProxyType({number: name for name, number in OPERATORS.items()})

TYPES: dict[int, Any] = {
    0: np.float32,
    2: np.int32,
    3: np.uint8,
    4: np.int64,
    7: np.int16,
    9: np.int8,
}
"""NumPy's types by TFLite's numbers."""
TYPE_NUMBERS = {np.dtype(kind): number for number, kind in TYPES.items()}

SAME, RELU = 0, 1
"""Padding, and the fused activation."""
