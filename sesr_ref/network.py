"""Networks as data: an immutable tuple of layer specifications that every tool reads.

A `Network` says *what* is computed, never how.  Running, training, collapsing, counting, the
NPU model and the exports each walk `Network.steps` with their own rule for each kind of layer,
so an architecture is written once (see `sesr_ref.architectures.sesr`).

Shapes are (height, width, channels); arrays add a leading batch axis (NHWC); convolution weights
are (k, k, in, out) (HWIO).  Every tensor is named after the layer that makes it; the image is
"input".  A layer without `inputs` reads the layer before it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sesr_ref.layers import (
    KINDS,
    PRIMITIVES,
    Add,
    Clip,
    Concat,
    Conv,
    ConvTranspose,
    DepthToSpace,
    Layer,
    LeakyReLU,
    LinearBlock,
    Pointwise,
    PReLU,
    ReLU,
    Resize,
    Rules,
    Scale,
    Shape,
    Shift,
    Sigmoid,
)
from sesr_ref.limits import (
    MAX_LAYERS,
    MAX_NAME,
    MAX_NUMBER,
    MAX_SIZE,
    NetworkError,
    check_name,
    check_size,
)

__all__ = [
    "KINDS",
    "MAX_LAYERS",
    "MAX_NAME",
    "MAX_NUMBER",
    "MAX_SIZE",
    "PRIMITIVES",
    "Add",
    "Clip",
    "Concat",
    "Conv",
    "ConvTranspose",
    "DepthToSpace",
    "Layer",
    "LeakyReLU",
    "LinearBlock",
    "Network",
    "NetworkError",
    "PReLU",
    "Pointwise",
    "ReLU",
    "Resize",
    "Rules",
    "Scale",
    "Shape",
    "Shift",
    "Sigmoid",
]


@dataclass(frozen=True)
class Network:
    """A named, validated sequence of layers from an image to its enlargement.

    Parameters
    ----------
    name : str
        For people and files.
    upscale : int
        The output is this many times as high and wide as the input.
    channels : int
        Channels of the input and of the output; 1 for networks on Y.
    layers : tuple of Layer
        In order of execution; the last one makes the output.

    Raises
    ------
    NetworkError
        (a ValueError) naming the layer, when a tensor is read before it exists, a name is used
        twice, shapes do not fit, or the output is not the input enlarged.
    """

    name: str
    upscale: int
    channels: int
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        check_name(self.name, "a network's name")
        for key in ("upscale", "channels"):
            check_size(self, key)
        if not isinstance(self.layers, tuple) or not 1 <= len(self.layers) <= MAX_LAYERS:
            raise NetworkError(f"{self.name}: needs a tuple of 1 to {MAX_LAYERS} layers")
        known: dict[str, Layer | None] = {"input": None}
        for layer in self.layers:
            if type(layer) not in KINDS.values():
                raise NetworkError(f"{self.name}: {layer!r:.200} is no layer")
        for layer, inputs in self.steps():
            self._check_names(layer, inputs, known)
            known[layer.name] = layer
        self._check_shapes()

    def _check_names(
        self, layer: Layer, inputs: tuple[str, ...], known: dict[str, Layer | None]
    ) -> None:
        if layer.name in known:
            raise NetworkError(f"{self.name}: two layers are called {layer.name!r}")
        if missing := [name for name in inputs if name not in known]:
            raise NetworkError(f"{self.name}: {layer.name!r} reads {missing[0]!r} before it exists")
        if layer.shares and not _alike(layer, known.get(layer.shares)):
            raise NetworkError(
                f"{self.name}: {layer.name!r} shares the parameters of {layer.shares!r}, which is "
                f"no earlier {type(layer).__name__} that is alike and has its own"
            )

    def _check_shapes(self) -> None:
        height, width = 16, 24
        shapes = self.shapes(height, width)
        expected = (height * self.upscale, width * self.upscale, self.channels)
        if (got := shapes[self.output]) != expected:
            raise NetworkError(
                f"{self.name}: layer {self.output!r} makes {got} of {shapes['input']}, "
                f"not {expected} as an enlargement by {self.upscale} needs"
            )
        owners: dict[str, Any] = {}
        for layer, inputs in self.steps():
            owners[layer.name] = layer.param_shapes(*(shapes[i][2] for i in inputs))
            if layer.shares and owners[layer.shares] != owners[layer.name]:
                raise NetworkError(
                    f"{self.name}: {layer.name!r} needs parameters {owners[layer.name]}, "
                    f"{layer.shares!r} has {owners[layer.shares]}"
                )

    @property
    def output(self) -> str:
        """Name of the last layer and of the tensor it makes."""
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
                raise NetworkError(f"{layer.name}: enlarges or has channels beyond {MAX_SIZE}")
        return shapes

    def param_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, keyed ``layer.parameter``; shared ones appear once."""
        return dict(self._param_shapes)

    @cached_property
    def _param_shapes(self) -> dict[str, tuple[int, ...]]:
        """Found once: every step of a training checks its parameters several times."""
        shapes = self.shapes(16, 24)
        return {
            f"{layer.name}.{param}": shape
            for layer, inputs in self.steps()
            if not layer.shares
            for param, shape in layer.param_shapes(*(shapes[i][2] for i in inputs)).items()
        }

    def to_json(self, indent: int | None = None) -> str:
        """Write the description as JSON; `from_json` reads it back."""
        layers = [{"kind": type(layer).__name__, **_stated(layer)} for layer in self.layers]
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
            Naming the layer and what is wrong with it.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:  # no JSON, too long a number, too deep
            raise NetworkError(f"not a network description: {error}") from None
        keys = {"name", "upscale", "channels", "layers"}
        if not isinstance(data, dict) or set(data) != keys or not isinstance(data["layers"], list):
            raise NetworkError(f"a network description is an object with the keys {sorted(keys)}")
        layers = tuple(_layer_from(entry) for entry in data.pop("layers"))
        return cls(**data, layers=layers)


def _stated(layer: Layer) -> dict[str, Any]:
    """Fields of a layer that differ from their defaults."""
    return {
        f.name: getattr(layer, f.name)
        for f in dataclasses.fields(layer)
        if getattr(layer, f.name) != f.default
    }


def _layer_from(entry: object) -> Layer:
    fields = dict(entry) if isinstance(entry, dict) else {}
    name = fields.pop("kind", None)
    if not isinstance(name, str) or name not in KINDS:
        raise NetworkError(f"a layer needs a kind out of {sorted(KINDS)}, got {entry!r:.200}")
    if isinstance(fields.get("inputs"), list):
        fields["inputs"] = tuple(fields["inputs"])
    kind: Callable[..., Layer] = KINDS[name]
    _check_fields(KINDS[name], fields)
    return kind(**fields)


def _check_fields(kind: type[Layer], fields: dict[str, Any]) -> None:
    known = {f.name: f.default is dataclasses.MISSING for f in dataclasses.fields(kind)}
    who = f"{fields.get('name', 'a layer without a name')!r:.200}"
    if unknown := sorted(set(fields) - set(known)):
        raise NetworkError(f"{who}: {kind.__name__} has no field {unknown[0]!r:.200}")
    if missing := [key for key, required in known.items() if required and key not in fields]:
        raise NetworkError(f"{who}: {kind.__name__} needs the field {missing[0]!r}")


def _alike(layer: Layer, owner: Layer | None) -> bool:
    """Whether `owner` has parameters of its own and differs from `layer` in names alone."""
    mine = dataclasses.replace(layer, name="same", inputs=(), shares="")
    return owner is not None and mine == dataclasses.replace(owner, name="same", inputs=())
