"""Networks as data: an immutable tuple of layer specifications that every tool reads.

A `Network` states *what* is computed, never how.  Running, training, collapsing, counting, the
NPU model and the exports each walk `Network.steps` with their own rule for each kind of layer,
so an architecture is written only once (see `sesr_ref.architectures.sesr`).

Shapes are (height, width, channels); arrays add a leading batch axis (NHWC); convolution weights
are (k, k, in, out) (HWIO).  Every tensor has the name of the layer that computes it; the image is
"input".  A layer without `inputs` reads the layer before it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sesr_ref.layers import (
    COMPOSITES,
    GELU,
    KINDS,
    PRIMITIVES,
    Add,
    BatchNorm,
    Clip,
    Composite,
    Concat,
    Conv,
    ConvTranspose,
    DepthToSpace,
    FakeQuantize,
    Gain,
    Layer,
    LeakyReLU,
    Linear,
    LinearBlock,
    Multiply,
    Pad,
    Pointwise,
    PReLU,
    ReLU,
    Resize,
    Rules,
    Scale,
    Shape,
    Shift,
    Sigmoid,
    SiLU,
    Slice,
    Stencil,
    Tanh,
)
from sesr_ref.layers.base import check_order
from sesr_ref.limits import (
    MAX_LAYERS,
    MAX_NAME,
    MAX_NUMBER,
    MAX_SIZE,
    NetworkError,
    check_name,
    check_size,
    in_one_line,
    require,
    shown,
)

__all__ = [
    "COMPOSITES",
    "GELU",
    "KINDS",
    "MAX_LAYERS",
    "MAX_NAME",
    "MAX_NUMBER",
    "MAX_SIZE",
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
    "Network",
    "NetworkError",
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


MEMBERS = {name: kind for name, kind in KINDS.items() if kind not in COMPOSITES}
"""Kinds of layers that the body of a composite may contain."""


@dataclass(frozen=True)
class Network:
    """A named, validated sequence of layers from an image to its enlargement.

    Parameters
    ----------
    name : str
        Shown in messages and stored in files.
    upscale : int
        The output is this many times as high and wide as the input.
    channels : int
        Channels of the input and of the output; 1 for networks on Y.
    layers : tuple of Layer
        In order of execution; the last one computes the output.

    Raises
    ------
    NetworkError
        (a ValueError) naming the layer, if a tensor is read before it exists, a name is used
        twice, shapes do not fit, or the output's size is not the enlarged input's.
    """

    name: str
    upscale: int
    channels: int
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        check_name(self.name, "a network's name")
        check_size(self, "upscale", "channels")
        valid = isinstance(self.layers, tuple) and 1 <= len(self.layers) <= MAX_LAYERS
        require(self, valid, "layers", f"a tuple of 1 to {MAX_LAYERS} layers")
        for layer in self.layers:
            if type(layer) not in KINDS.values():
                raise NetworkError(f"{self.name}: {shown(layer)} is not a layer")
        known: dict[str, Layer | None] = {"input": None}
        for layer, inputs in self.steps():
            check_order(self.name, layer, inputs, known)
            if layer.shares and not _alike(layer, known.get(layer.shares)):
                raise NetworkError(
                    f"{self.name}: {layer.name!r} shares the parameters of {shown(layer.shares)}, "
                    f"which must be an earlier {type(layer).__name__}, equal and not sharing itself"
                )
            known[layer.name] = layer
        self._check_shapes()

    def _check_shapes(self) -> None:
        height, width = 16, 24
        shapes = self.shapes(height, width)
        expected = (height * self.upscale, width * self.upscale, self.channels)
        if (got := shapes[self.output]) != expected:
            raise NetworkError(
                f"{self.name}: for an input of {shapes['input']} the output of {self.output!r} "
                f"must be {expected} (upscale {self.upscale}), got {got}"
            )
        owners: dict[str, Any] = {}
        for layer, inputs in self.steps():
            owners[layer.name] = layer.param_shapes(*(shapes[i][2] for i in inputs))
            if layer.shares and owners[layer.shares] != owners[layer.name]:
                raise NetworkError(
                    f"{self.name}: {layer.name!r} needs parameters of shapes {owners[layer.name]}, "
                    f"but {layer.shares!r} has {owners[layer.shares]}"
                )

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Computed once: every training step needs it."""
        return hash((self.name, self.upscale, self.channels, self.layers))

    @property
    def output(self) -> str:
        """Name of the last layer and of its output tensor."""
        return self.layers[-1].name

    def steps(self) -> Iterator[tuple[Layer, tuple[str, ...]]]:
        """Each layer with the names of the tensors it reads, in order of execution."""
        previous = "input"
        for layer in self.layers:
            yield layer, layer.inputs or (previous,)
            previous = layer.name

    def shapes(self, height: int, width: int) -> dict[str, Shape]:
        """(height, width, channels) of every tensor for an input of height x width pixels."""
        shapes = {"input": (height, width, self.channels)}
        for layer, inputs in self.steps():
            shapes[layer.name] = shape = layer.out_shape(*(shapes[name] for name in inputs))
            if shape[2] > MAX_SIZE or shape[0] > height * MAX_SIZE:
                raise NetworkError(
                    f"{layer.name}: enlargement and channels must be at most {MAX_SIZE}, "
                    f"got an output of {shape} for an input of {height} x {width}"
                )
        return shapes

    def param_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, keyed ``layer.parameter``; shared ones appear once."""
        return dict(self._param_shapes)

    @cached_property
    def _param_shapes(self) -> dict[str, tuple[int, ...]]:
        """Computed once: every training step checks its parameters several times."""
        shapes = self.shapes(16, 24)
        return {
            f"{layer.name}.{param}": shape
            for layer, inputs in self.steps()
            if not layer.shares
            for param, shape in layer.param_shapes(*(shapes[i][2] for i in inputs)).items()
        }

    def to_json(self, indent: int | None = None) -> str:
        """Write the description as JSON; `from_json` reads it back."""
        layers = [_entry(layer) for layer in self.layers]
        head = {"name": self.name, "upscale": self.upscale, "channels": self.channels}
        return json.dumps({**head, "layers": layers}, indent=indent)

    @classmethod
    def from_json(cls, text: str) -> Network:
        """Read a description written by `to_json` or by hand.

        Returns
        -------
        Network

        Raises
        ------
        NetworkError
            Naming the layer and the problem.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:  # not JSON, a huge number, deep nesting
            raise NetworkError(f"not a network description: {in_one_line(error)}") from None
        keys = {"name", "upscale", "channels", "layers"}
        if not isinstance(data, dict) or set(data) != keys or not isinstance(data["layers"], list):
            raise NetworkError(
                f"a network description must be an object with the keys {sorted(keys)}, "
                f"got {shown(data)}"
            )
        layers = tuple(_layer_from(entry) for entry in data.pop("layers"))
        return cls(**data, layers=layers)


def _entry(layer: Layer) -> dict[str, Any]:
    """Describe a layer for JSON: its kind and the fields that differ from their defaults."""
    stated = {
        f.name: getattr(layer, f.name)
        for f in dataclasses.fields(layer)
        if getattr(layer, f.name) != f.default
    }
    if isinstance(layer, Composite):
        stated["layers"] = [_entry(member) for member in layer.layers]
    return {"kind": type(layer).__name__, **stated}


def _layer_from(entry: object, kinds: Mapping[str, type[Layer]] = KINDS) -> Layer:
    fields = dict(entry) if isinstance(entry, dict) else {}
    name = fields.pop("kind", None)
    if not isinstance(name, str) or name not in kinds:
        raise NetworkError(f"a layer needs a kind, one of {sorted(kinds)}, got {shown(entry)}")
    if kinds[name] is Composite and isinstance(fields.get("layers"), list):
        fields["layers"] = tuple(_layer_from(member, MEMBERS) for member in fields["layers"])
    kind: Callable[..., Layer] = kinds[name]
    _check_fields(kinds[name], fields)
    return kind(**{key: _frozen(value) for key, value in fields.items()})


def _frozen(value: Any) -> Any:
    """Turn the lists of JSON, whose parser has bounded their depth, into tuples."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _check_fields(kind: type[Layer], fields: dict[str, Any]) -> None:
    known = {f.name: f.default is dataclasses.MISSING for f in dataclasses.fields(kind)}
    who = shown(fields.get("name", "a layer without a name"))
    if unknown := sorted(set(fields) - set(known)):
        raise NetworkError(f"{who}: {kind.__name__} has no field {shown(unknown[0])}")
    if missing := [key for key, required in known.items() if required and key not in fields]:
        raise NetworkError(f"{who}: {kind.__name__} needs the field {missing[0]!r}")


def _alike(layer: Layer, owner: Layer | None) -> bool:
    """Whether `owner` has its own parameters and differs from `layer` only in names."""
    mine = dataclasses.replace(layer, name="same", inputs=(), shares="")
    return owner is not None and mine == dataclasses.replace(owner, name="same", inputs=())
