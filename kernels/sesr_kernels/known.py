"""Which fields of which layers the kernels read: a layer that states more is not theirs to run."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from sesr_kernels.schedule import Unsupported

ALWAYS = {"name", "inputs", "shares"}
FIELDS: dict[str, set[str]] = {
    "Conv": {"features", "kernel_size", "groups", "bias"},
    "ConvTranspose": {"features", "kernel_size", "stride", "bias", "padding", "crop"},
    "PReLU": set(),
    "ReLU": set(),
    "LeakyReLU": {"slope"},
    "Add": set(),
    "Concat": set(),
    "DepthToSpace": {"block", "mode"},
    "Shift": {"offset"},
    "Scale": {"factor"},
    "Clip": {"low", "high"},
    "Resize": {"upscale", "mode"},
}


def kind_of(layer: Any) -> str:
    """Name of a layer's kind.

    Returns
    -------
    str

    Raises
    ------
    Unsupported
        For a kind, or a field that is not at its default, that no kernel knows: leaving it out
        would compute something else.
    """
    kind = type(layer).__name__
    if kind not in FIELDS:
        raise Unsupported(kind)
    for field in fields(layer):
        if field.name not in FIELDS[kind] | ALWAYS:
            value = getattr(layer, field.name)
            if field.default is MISSING or value != field.default:
                raise Unsupported(f"{kind} with {field.name} = {value!r:.40}")
    return kind
