"""A network as the source of a PyTorch module that reads by itself."""

from __future__ import annotations

import builtins
import keyword
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sesr_ref import network as nw
from sesr_ref.collapse import expanded
from sesr_ref.exchange.phases import phase_taps
from sesr_ref.exchange.torch.layers import RULES, Rows, numbers
from sesr_ref.exchange.torch.names import module_names
from sesr_ref.exchange.torch.parts import PARTS
from sesr_ref.files import atomic_write

Tree = dict[str, Any]
"""Modules by name: what makes one, or the modules within it."""
LINE_LENGTH = 100
"""Longest line of a forward pass that is written without a break."""


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
            found.setdefault(numbers(layer.taps), f"TAPS_{len(found)}")
        elif isinstance(layer, nw.Resize) and layer.mode == "bicubic" and layer.upscale > 1:
            found.setdefault(numbers(phase_taps(layer.upscale)), f"BICUBIC_{layer.upscale}")
    return found


def _table(name: str, rows: Rows) -> str:
    return f"{name} = (\n{''.join(f'    {row!r},{chr(10)}' for row in rows)})"
