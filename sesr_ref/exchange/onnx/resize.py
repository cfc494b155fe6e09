"""Which of ONNX's many resizings are ones that a network states exactly."""

from __future__ import annotations

from sesr_ref.exchange.onnx.builder import Builder
from sesr_ref.exchange.onnx.graph import Image, Node

HALF_PIXEL = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
"""Coordinates that agree for whole enlargements."""


def resize_scale(node: Node, b: Builder, image: Image) -> int:
    """The whole enlargement that a Resize or Upsample states.

    Parameters
    ----------
    node : Node
        With scales or sizes as inputs, or as the attribute of Upsample-7.
    b : Builder
        With the values of the inputs.
    image : Image
        What is enlarged.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If height and width are not enlarged by the same whole number, or other axes are.
    """
    lengths = [image.shape[i] for i in image.order]
    scales = _stated_scales(node, b, lengths)
    along = {axis: scales[place] for place, axis in enumerate(image.order)}
    scale = round(along[2])
    if along != {0: 1, 1: 1, 2: scale, 3: scale} or scale < 1:
        raise node.error(
            f"scales {scales}: only height and width by one whole number are supported"
        )
    return scale


def _stated_scales(node: Node, b: Builder, lengths: list[int]) -> list[float]:
    """Scale of every axis, in the order that the node sees."""
    index = 1 if node.kind == "Upsample" or node.opset < 11 else 2
    scales = b.optional(node, index)
    sizes = b.optional(node, index + 1)
    axes = [int(a) % 4 for a in node.attribute("axes", range(4))]
    if scales is not None and scales.size:
        stated = [float(s) for s in scales.reshape(-1)]
    elif sizes is not None and len(axes) == sizes.size:
        stated = [int(n) / lengths[a] for a, n in zip(axes, sizes.reshape(-1), strict=True)]
    else:
        stated = [float(s) for s in node.attribute("scales", [])]
    if len(stated) != len(axes):
        raise node.error(f"states {len(stated)} scale(s) for {len(axes)} axes")
    full = [1.0] * 4
    for axis, scale in zip(axes, stated, strict=True):
        full[axis] = scale
    return full


def resize_mode(node: Node, scale: int) -> str:
    """The mode of `sesr_ref.network.Resize` that computes the same, border included.

    Parameters
    ----------
    node : Node
        A Resize or Upsample.
    scale : int
        Its enlargement.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        With the node's attributes, if there is none.
    """
    mode = node.attribute("mode", "nearest")
    old = node.kind == "Upsample" or node.opset < 11
    coordinates = node.attribute("coordinate_transformation_mode", "half_pixel")
    if old:
        coordinates = "asymmetric"
    half = coordinates in HALF_PIXEL
    plain = not node.attribute("antialias", 0) and not node.attribute("exclude_outside", 0)
    if scale == 1 and mode in ("nearest", "linear") and (half or coordinates == "asymmetric"):
        return "nearest"
    if mode == "nearest" and plain and _repeats(node, coordinates, old):
        return "nearest"
    if mode == "linear" and plain and half:
        return "bilinear"
    if mode == "cubic" and plain and half and abs(_cubic(node) + 0.75) < 1e-6:
        return "bicubic75"
    raise node.error(
        f"mode {mode!r}, coordinates {coordinates!r}, cubic_coeff_a {_cubic(node):g}, "
        f"exclude_outside {node.attribute('exclude_outside', 0)}: supported are nearest that "
        "repeats pixels, linear and cubic (a = -0.75) with half-pixel coordinates"
    )


def _cubic(node: Node) -> float:
    return float(node.attribute("cubic_coeff_a", -0.75))


def _repeats(node: Node, coordinates: str, old: bool) -> bool:
    """Whether nearest takes pixel ``i // scale``."""
    rounding = "floor" if old else node.attribute("nearest_mode", "round_prefer_floor")
    if coordinates == "asymmetric":
        return bool(rounding == "floor")
    return coordinates in HALF_PIXEL and rounding in ("round_prefer_floor", "round_prefer_ceil")
