"""The kinds of layers, each a frozen specification: what is computed, never how.

Shapes are (height, width, channels); arrays add a leading batch axis (NHWC); convolution weights
are (k, k, in, out) (HWIO).  A new kind needs one class here, its name in `PRIMITIVES`, and one rule
in each tool's table, as a test checks; kinds derived from `Pointwise` inherit most of their rules
from the row of that base.
"""

from sesr_ref.layers.base import Layer, Pointwise, Rules, Shape
from sesr_ref.layers.composite import Composite, Linear, LinearBlock
from sesr_ref.layers.convolution import Conv, ConvTranspose, Stencil
from sesr_ref.layers.pointwise import (
    GELU,
    BatchNorm,
    Clip,
    FakeQuantize,
    Gain,
    LeakyReLU,
    PReLU,
    ReLU,
    Scale,
    Shift,
    Sigmoid,
    SiLU,
    Tanh,
)
from sesr_ref.layers.tensors import Add, Concat, DepthToSpace, Multiply, Pad, Resize, Slice

PRIMITIVES: tuple[type[Layer], ...] = (
    Conv,
    ConvTranspose,
    Stencil,
    PReLU,
    ReLU,
    LeakyReLU,
    Sigmoid,
    SiLU,
    Tanh,
    GELU,
    Shift,
    Scale,
    FakeQuantize,
    Gain,
    BatchNorm,
    Clip,
    Add,
    Multiply,
    Concat,
    Slice,
    Pad,
    DepthToSpace,
    Resize,
)
"""Every kind for which tools must have a rule."""
COMPOSITES: tuple[type[Linear], ...] = (LinearBlock, Composite)
KINDS: dict[str, type[Layer]] = {kind.__name__: kind for kind in (*PRIMITIVES, *COMPOSITES)}

__all__ = [
    "COMPOSITES",
    "GELU",
    "KINDS",
    "PRIMITIVES",
    "Add",
    "BatchNorm",
    "Clip",
    "Composite",
    "Concat",
    "Conv",
    "ConvTranspose",
    "DepthToSpace",
    "FakeQuantize",
    "Gain",
    "Layer",
    "LeakyReLU",
    "Linear",
    "LinearBlock",
    "Multiply",
    "PReLU",
    "Pad",
    "Pointwise",
    "ReLU",
    "Resize",
    "Rules",
    "Scale",
    "Shape",
    "Shift",
    "SiLU",
    "Sigmoid",
    "Slice",
    "Stencil",
    "Tanh",
]
