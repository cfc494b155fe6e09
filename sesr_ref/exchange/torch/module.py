"""A network as the source of a PyTorch module that reads by itself."""

from __future__ import annotations

import builtins
import keyword
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sesr_ref import network as nw
from sesr_ref.collapse import expanded
from sesr_ref.exchange.phases import phase_taps
from sesr_ref.exchange.torch.names import module_names
from sesr_ref.exchange.torch.parts import PARTS
from sesr_ref.files import atomic_write

Tree = dict[str, Any]
"""Modules by name: what makes one, or the modules within it."""
Rows = tuple[tuple[float, ...], ...]
"""A table of numbers that a module states once."""


LINE_LENGTH = 100


class Rule(NamedTuple):
    """How a kind of layer is written.

    ``made(layer, channels)`` is what makes its module, where it has parameters;
    ``called(layer, inputs, module)`` what computes its output.
    """

    called: Callable[[Any, Sequence[str], str], str]
    made: Callable[[Any, int], str] | None = None


def save_module(path: str | Path, net: nw.Network, overwrite: bool = True) -> None:
    """Write the source of a PyTorch module that computes what a network does.

    Parameters
    ----------
    path : path
        A .py file; its folder must exist.
    net : Network
        Linear blocks are written as the layers that they stand for.  The state dict that fits is
        what `save_state_dict` writes in dialect "torch".
    overwrite : bool
        Whether an existing file is replaced.

    Raises
    ------
    FileExistsError
        If the file exists and shall not be overwritten.
    NetworkError
        If a linear block has no expanded form.
    """
    source = module_source(net)
    with atomic_write(Path(path), overwrite) as stream:
        stream.write(source.encode())


def module_source(net: nw.Network) -> str:
    """The source that `save_module` writes.

    Parameters
    ----------
    net : Network
        Any.

    Returns
    -------
    str
        Python that needs PyTorch alone.
    """
    full = expanded(net)
    body = "\n".join([*_constructor(full), "", *_forward(full)])
    for rows, constant in (constants := _constants(full)).items():
        body = body.replace(repr(rows), constant)
    used = [name for name in PARTS if re.search(rf"\b{name}\(", body)]
    name = _class_name(net.name)
    blocks = [
        _head(net, name),
        *(["\n".join(map(_table, constants.values(), constants))] if constants else []),
        *(PARTS[part].strip() for part in used),
        _CLASS.format(name=name, channels=net.channels, scale=net.upscale, body=body),
    ]
    text = "\n\n\n".join(blocks)
    functional = "from torch.nn import functional as F\n"
    return text if re.search(r"\bF\.", text) else text.replace(functional, "")


_HEAD = '''"""{title}, a PyTorch module; written by sesr_ref from the network's description.

    model = {name}()
    model.load_state_dict(torch.load("weights.pth", weights_only=True))
    enlarged = model.eval()(images)
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
'''
_CLASS = '''class {name}(nn.Module):
    """Images (n, {channels}, height, width) in [0, 1], enlarged by {scale}."""

{body}
'''


def _head(net: nw.Network, name: str) -> str:
    title = re.sub(r"[^\w .-]", "_", net.name, flags=re.ASCII)
    return _HEAD.format(title=title, name=name).rstrip()


def _constructor(net: nw.Network) -> Iterator[str]:
    yield "    def __init__(self) -> None:"
    yield "        super().__init__()"
    channels = {name: shape[2] for name, shape in net.shapes(16, 24).items()}
    names = module_names(net)
    tree: Tree = {}
    for layer, inputs in net.steps():
        made = RULES[type(layer)].made
        if made is not None and layer.name in names:
            *folders, last = names[layer.name].split(".")
            folder = tree
            for part in folders:
                folder = folder.setdefault(part, {})
            folder[last] = made(layer, channels[inputs[0]])
    for name, content in tree.items():
        yield from _assigned(f"self.{name} = ", content, " " * 8)


def _assigned(start: str, content: str | Tree, indent: str, end: str = "") -> Iterator[str]:
    """Lines that make a module, or a dictionary of modules."""
    if isinstance(content, str):
        yield f"{indent}{start}{content}{end}"
        return
    yield f"{indent}{start}nn.ModuleDict({{"
    for name, inner in content.items():
        yield from _assigned(f'"{name}": ', inner, f"{indent}    ", ",")
    yield f"{indent}}}){end}"


def _forward(net: nw.Network) -> Iterator[str]:
    yield "    def forward(self, x: torch.Tensor) -> torch.Tensor:"
    names, variables = module_names(net), _variables(net)
    for layer, inputs in net.steps():
        first, *inner = names.get(layer.shares or layer.name, "").split(".")
        module = f"self.{first}" + "".join(f'["{part}"]' for part in inner)
        arguments = [variables[name] for name in inputs]
        called = RULES[type(layer)].called(layer, arguments, module)
        if not _is_copy(layer, inputs):
            yield from _statement(variables[layer.name], called)
    yield f"        return {variables[net.output]}"


def _statement(name: str, value: str) -> Iterator[str]:
    """An assignment, on several lines where it is long."""
    if len(line := f"        {name} = {value}") <= LINE_LENGTH:
        yield line
        return
    yield f"        {name} = ("
    yield from (f"            {part}" for part in textwrap.wrap(value, LINE_LENGTH - 12))
    yield "        )"


TAKEN = {"x", "self", "torch", "nn", "F", *PARTS, *keyword.kwlist, *dir(builtins)}
"""Names that no tensor of a generated module has."""


def _variables(net: nw.Network) -> dict[str, str]:
    """A variable for each tensor, called after it."""
    names = {"input": "x"}
    taken = set(TAKEN)
    for layer in net.layers:
        name = re.sub(r"\W", "_", layer.name, flags=re.ASCII)
        name = f"t{name}" if name[:1].isdigit() else name
        while name in taken:
            name += "_"
        taken.add(name)
        names[layer.name] = name
    for layer, inputs in reversed(list(net.steps())):
        if _is_copy(layer, inputs):  # one tensor with two names has the later one
            names[inputs[0]] = names[layer.name]
    return names


def _is_copy(layer: nw.Layer, inputs: Sequence[str]) -> bool:
    return isinstance(layer, nw.Add) and len(inputs) == 1 and inputs[0] != "input"


def _class_name(text: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", text)
    name = "".join(word[:1].upper() + word[1:] for word in words)
    return name if name[:1].isalpha() and name not in TAKEN else f"Network{name}"


def _constants(net: nw.Network) -> dict[Rows, str]:
    """Names for the tables of numbers that layers state."""
    found: dict[Rows, str] = {}
    for layer in net.layers:
        if isinstance(layer, nw.Stencil):
            found.setdefault(_numbers(layer.taps), f"TAPS_{len(found)}")
        elif isinstance(layer, nw.Resize) and layer.mode == "bicubic" and layer.upscale > 1:
            found.setdefault(_numbers(phase_taps(layer.upscale)), f"BICUBIC_{layer.upscale}")
    return found


def _numbers(rows: Iterable[Iterable[float]]) -> Rows:
    return tuple(tuple(float(number) for number in row) for row in rows)


def _table(name: str, rows: Rows) -> str:
    return f"{name} = (\n{''.join(f'    {row!r},{chr(10)}' for row in rows)})"


def _conv(layer: nw.Conv, channels: int) -> str:
    rows, columns = layer.sides
    square = rows == columns
    size = str(rows) if square else f"({rows}, {columns})"
    options = [f"{channels}, {layer.features}, {size}"]
    if max(rows, columns) > 1:
        padding = str(rows // 2) if square else f"({rows // 2}, {columns // 2})"
        options.append(f"padding={padding}")
    options += [f"groups={layer.groups}"] if layer.groups > 1 else []
    options += [] if layer.bias else ["bias=False"]
    return f"nn.Conv2d({', '.join(options)})"


def _conv_transpose(layer: nw.ConvTranspose, channels: int) -> str:
    k, stride, crop = layer.kernel_size, layer.stride, layer.crop
    sizes = f"{channels}, {layer.features}, {k}, {stride}"
    bias = "" if layer.bias else ", bias=False"
    more = stride - k + 2 * crop  # rows that padding on both sides takes too many
    if 0 <= more < stride:
        return f"nn.ConvTranspose2d({sizes}, padding={crop}, output_padding={more}{bias})"
    return f"CutConvTranspose2d({sizes}, crop={crop}{bias})"


def _stencil(layer: nw.Stencil, channels: int) -> str:
    return f"Stencil({channels}, {_numbers(layer.taps)!r}, {layer.factor}, {layer.bias})"


def _module(layer: nw.Layer, inputs: Sequence[str], module: str) -> str:
    return f"{module}({inputs[0]})"


def _text(form: str) -> Rule:
    """Rule of a kind that is written as its form says, with the layer and its first inputs."""
    return Rule(lambda layer, inputs, module: form.format(*inputs, layer=layer))


def _shift(layer: nw.Shift, inputs: Sequence[str], module: str) -> str:
    sign = "-" if layer.offset < 0 else "+"
    return f"{inputs[0]} {sign} {abs(layer.offset)!r}"


def _shuffle(layer: nw.DepthToSpace, inputs: Sequence[str], module: str) -> str:
    name = {"CRD": "F.pixel_shuffle", "DCR": "depth_to_space"}[layer.mode]
    return f"{name}({inputs[0]}, {layer.block})"


def _resize(layer: nw.Resize, inputs: Sequence[str], module: str) -> str:
    x, scale = inputs[0], layer.upscale
    if scale == 1:
        return x
    if layer.mode == "bicubic":
        return f"bicubic({x}, {_numbers(phase_taps(scale))!r})"
    if layer.mode == "nearest":
        return f"{x}.repeat_interleave({scale}, 2).repeat_interleave({scale}, 3)"
    mode = {"bilinear": "bilinear", "bicubic75": "bicubic"}[layer.mode]
    return f'F.interpolate({x}, scale_factor={scale}, mode="{mode}", align_corners=False)'


RULES: nw.Rules[Rule] = nw.Rules(
    {
        nw.Conv: Rule(_module, _conv),
        nw.ConvTranspose: Rule(_module, _conv_transpose),
        nw.Stencil: Rule(_module, _stencil),
        nw.PReLU: Rule(_module, lambda layer, channels: f"nn.PReLU({channels})"),
        nw.Gain: Rule(_module, lambda layer, channels: f"Gain({channels})"),
        nw.BatchNorm: Rule(
            _module, lambda layer, channels: f"nn.BatchNorm2d({channels}, eps={layer.eps!r})"
        ),
        nw.ReLU: _text("torch.relu({})"),
        nw.LeakyReLU: _text("F.leaky_relu({}, {layer.slope!r})"),
        nw.Sigmoid: _text("torch.sigmoid({})"),
        nw.SiLU: _text("F.silu({})"),
        nw.Tanh: _text("torch.tanh({})"),
        nw.GELU: _text("F.gelu({}, approximate={layer.approximate!r})"),
        nw.Shift: Rule(_shift),
        nw.Scale: _text("{} * {layer.factor!r}"),
        nw.Clip: _text("{}.clamp({layer.low!r}, {layer.high!r})"),
        nw.Add: Rule(lambda layer, inputs, module: " + ".join(inputs)),
        nw.Multiply: Rule(lambda layer, inputs, module: " * ".join(inputs)),
        nw.Concat: Rule(lambda layer, inputs, module: f"torch.cat([{', '.join(inputs)}], 1)"),
        nw.Slice: _text("{}[:, {layer.start} : {layer.stop}]"),
        nw.Pad: _text("F.pad({}, ({layer.size},) * 4)"),
        nw.DepthToSpace: Rule(_shuffle),
        nw.Resize: Rule(_resize),
    }
)
"""How each primitive is written."""
