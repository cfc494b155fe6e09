"""Other people's names and layouts of SESR's parameters: one table for each dialect."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sesr_ref import network as nw
from sesr_ref.architectures import sesr
from sesr_ref.collapse import collapsed
from sesr_ref.exchange.torch.names import to_torch
from sesr_ref.ops.arrays import Params

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of the parameters found, under our names and in our layout."""


@dataclass(frozen=True)
class Name:
    """One row: our parameter, theirs ("{i}" counts the blocks), and how theirs is stored."""

    ours: str
    theirs: str
    layout: str = "as is"
    optional: bool = False


@dataclass(frozen=True)
class Dialect:
    """How a kind of file names and stores the parameters of which network.

    Parameters
    ----------
    title : str
        For errors.
    names : tuple of Name
        The table.
    network : function
        The network that the parameters belong to, given their shapes.
    prefix : str
        What is written ahead of all their names; reading takes any of the usual ones.
    write : function, optional
        How the parameters of any network are written; without it only what the table describes is.
    """

    title: str
    names: tuple[Name, ...]
    network: Callable[[Shapes], nw.Network]
    prefix: str = ""
    write: Callable[[nw.Network, Params], Params] | None = None

    @property
    def linear_blocks(self) -> bool:
        """Whether it names the parameters of linear blocks, not of what they collapse into."""
        return any(name.ours.endswith(".expand") for name in self.names)


def _sesr(shapes: Shapes) -> nw.Network:
    """SESR as the paper draws it: what the parameters do not tell is the paper's."""
    features, upscale, channels, expand = _sizes(shapes)
    if channels != 1:
        raise ValueError(f"head reads {channels} channels; the paper's network reads Y alone")
    biased = "head.project_bias" in shapes or "head.bias" in shapes
    return sesr(
        _count(shapes),
        features,
        upscale,
        expand,
        activation="prelu" if "act0.slope" in shapes else "relu",
        block_bias="true" if biased else "none",
    )


def _sesr_collapsed(shapes: Shapes) -> nw.Network:
    return collapsed(_sesr(shapes))


def _aimet(shapes: Shapes) -> nw.Network:
    """Qualcomm's SESR: RGB, an activation after the head too, the input repeated by a 1 x 1."""
    features, upscale, channels, expand = _sizes(shapes)
    activation = nw.PReLU if "head_act.slope" in shapes else nw.ReLU
    body: list[nw.Layer] = []
    for i in range(_count(shapes)):
        body += [
            nw.LinearBlock(f"block{i}", features, 3, expand, residual=True, bias="true"),
            activation(f"act{i}"),
        ]
    outputs = channels * upscale**2
    return nw.Network(
        f"sesr-m{_count(shapes)}-rgb-x{upscale}",
        upscale,
        channels,
        layers=(
            nw.LinearBlock("head", features, 5, expand, bias="true"),
            activation("head_act"),
            *body,
            nw.Add("features", inputs=(body[-1].name, "head_act")),
            nw.LinearBlock("tail", outputs, 5, expand, bias="true"),
            nw.Conv("anchor", outputs, 1, bias=True, inputs=("input",)),
            nw.Add("subpixels", inputs=("tail", "anchor")),
            nw.DepthToSpace("shuffle", upscale, "CRD"),
        ),
    )


def _aimet_collapsed(shapes: Shapes) -> nw.Network:
    return collapsed(_aimet(shapes))


def _sizes(shapes: Shapes) -> tuple[int, int, int, int]:
    """Features, upscale, channels and expand; ValueError where they are no SESR's."""
    first = shapes.get("head.expand") or shapes["head.weight"]
    projects = [shapes.get(f"{b}.project") or shapes[f"{b}.weight"] for b in ("head", "tail")]
    if any(len(shape) != 4 for shape in (first, *projects)):
        raise ValueError(f"head and tail must be convolutions, got {first} and {projects}")
    channels, features, outputs = first[2], projects[0][3], projects[1][3]
    upscale = math.isqrt(outputs // channels) if channels else 0
    if channels * upscale**2 != outputs or not outputs:
        raise ValueError(f"the tail makes {outputs} channels, no square times the {channels} read")
    return features, upscale, channels, first[3]


def _count(shapes: Shapes) -> int:
    blocks = {name.split(".")[0] for name in shapes if name.startswith("block")}
    if not blocks:
        raise ValueError("there is no block between head and tail")
    return len(blocks)


def _blocks(rows: Mapping[str, str], ours: tuple[str, ...], theirs: tuple[str, ...]) -> list[Name]:
    """Rows for every block: their module, and what its parameters are called."""
    return [
        Name(f"{block}{own}", f"{module}{their}", "OIHW" if their.endswith("weight") else "as is")
        for block, module in rows.items()
        for own, their in zip(ours, theirs, strict=True)
    ]


_OURS = {name: name for name in ("head", "block{i}", "tail")}
_AIMET = {"head": "conv_first", "block{i}": "residual_block.{i}", "tail": "conv_last"}
_AIMET_REST = (
    Name("head_act.slope", "conv_first.activation.weight", optional=True),
    Name("act{i}.slope", "residual_block.{i}.activation.weight", optional=True),
    Name("anchor.weight", "anchor.net.weight", "OIHW"),
    Name("anchor.bias", "anchor.net.bias"),
)


def _own(*parameters: str, optional: tuple[str, ...] = ()) -> tuple[Name, ...]:
    """Rows of our own names, slopes included."""
    needed = [Name(f"{b}.{p}", f"{b}.{p}") for b in _OURS for p in parameters]
    others = [f"{b}.{p}" for b in _OURS for p in optional]
    return (*needed, *(Name(n, n, optional=True) for n in (*others, "act{i}.slope")))


def _torch() -> tuple[Name, ...]:
    """Rows for a PyTorch module that names its layers as `sesr_ref.expanded` does."""
    weights = _blocks(_OURS, (".expand", ".project"), (".expand.weight", ".project.weight"))
    biases = [
        Name(f"{b}.{part}_bias", f"{b}.{part}.bias", optional=True)
        for b in _OURS
        for part in ("expand", "project")
    ]
    return (*weights, *biases, Name("act{i}.slope", "act{i}.weight", optional=True))


def _torch_collapsed() -> tuple[Name, ...]:
    weights = _blocks(_OURS, (".weight",), (".weight",))
    biases = [Name(f"{b}.bias", f"{b}.bias", optional=True) for b in _OURS]
    return (*weights, *biases, Name("act{i}.slope", "act{i}.weight", optional=True))


DIALECTS: dict[str, Dialect] = {
    "sesr-ref": Dialect(
        "sesr-ref's own names",
        _own("expand", "project", optional=("expand_bias", "project_bias")),
        _sesr,
        write=lambda net, params: dict(params),
    ),
    "sesr-ref-collapsed": Dialect(
        "sesr-ref's own names, collapsed", _own("weight", optional=("bias",)), _sesr_collapsed
    ),
    "torch": Dialect("a PyTorch module with sesr-ref's names", _torch(), _sesr, write=to_torch),
    "torch-collapsed": Dialect(
        "a PyTorch module with sesr-ref's names, collapsed", _torch_collapsed(), _sesr_collapsed
    ),
    "aimet": Dialect(
        "AIMET / AI Hub",
        (
            *_blocks(
                _AIMET,
                (".expand", ".project", ".project_bias"),
                (".conv_expand.weight", ".conv_squeeze.weight", ".conv_squeeze.bias"),
            ),
            *_AIMET_REST,
        ),
        _aimet,
        prefix="model.",
    ),
    "aimet-collapsed": Dialect(
        "AIMET / AI Hub, collapsed",
        (
            *_blocks(_AIMET, (".weight", ".bias"), (".conv_expand.weight", ".conv_expand.bias")),
            *_AIMET_REST,
        ),
        _aimet_collapsed,
        prefix="model.",
    ),
}
"""Every layout that is recognised; a new one is a new entry."""
