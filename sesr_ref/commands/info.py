"""Describe a network: its layers, shapes and parameters; without MODEL, list those there are."""

from __future__ import annotations

import argparse
import json
import math
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

from sesr_ref.architectures import NAMES, architecture
from sesr_ref.collapse import collapsed
from sesr_ref.commands.console import print_json, print_table
from sesr_ref.commands.models import add_model_argument, foreign, network_named
from sesr_ref.counting import cost
from sesr_ref.network import Layer, Network
from sesr_ref.receptive import halo
from sesr_ref.shipped import COLLAPSED, shipped

HIGH_HEIGHT, HIGH_WIDTH = 720, 1280
"""Of the output for which all networks are counted."""
COLOURS = {1: "Y", 3: "RGB"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref info``."""
    text = "shipped name, file, or an architecture such as sesr-m11-x4 or fsrcnn-x2"
    add_model_argument(parser, text, nargs="?")
    parser.add_argument("--collapsed", action="store_true", help="the network that is run")
    parser.add_argument(
        "--architectures", action="store_true", help="count all networks that are known by name"
    )
    parser.add_argument(
        "--json", action="store_true", help="for programs; includes the description"
    )


def run(args: argparse.Namespace) -> int:
    """Print the table or JSON."""
    if args.architectures:
        if args.model is not None or args.collapsed:
            raise ValueError("--architectures counts all of them: leave the other arguments out")
        return _list_architectures(args.json)
    if args.model is None:
        return _list_shipped(args.json)
    net = network_named(args.model, foreign(args))
    net = collapsed(net) if args.collapsed else net
    if args.json:
        print_json(_facts(net) | {"manifest": shipped().get(args.model.removesuffix(COLLAPSED))})
        return 0
    facts = _facts(net)
    rows = [
        (
            row["name"],
            row["kind"],
            " + ".join(row["inputs"]),
            _size(row["shape"]),
            row["parameters"],
        )
        for row in facts["layers"]
    ]
    print_table(
        f"{net.name}: x{net.upscale}, {facts['parameters']} parameters, "
        f"halo {facts['halo']} pixels; shapes for a 16 x 24 input",
        ("layer", "kind", "reads", "makes", "parameters"),
        rows,
    )
    return 0


def _facts(net: Network) -> dict[str, Any]:
    shapes = net.shapes(16, 24)
    layers = [
        {
            "name": layer.name,
            "kind": type(layer).__name__,
            "inputs": inputs,
            "shape": shapes[layer.name],
            "parameters": _own(layer, *(shapes[name][2] for name in inputs)),
        }
        for layer, inputs in net.steps()
    ]
    return {
        "name": net.name,
        "upscale": net.upscale,
        "channels": net.channels,
        "halo": halo(net),
        "parameters": sum(row["parameters"] for row in layers),
        "layers": layers,
        "description": json.loads(net.to_json()),
    }


def _own(layer: Layer, *channels: int) -> int:
    """Count its parameters, but for those that it shares with an earlier layer."""
    if layer.shares:
        return 0
    return sum(math.prod(shape) for shape in layer.param_shapes(*channels).values())


def _size(shape: tuple[int, int, int]) -> str:
    return " x ".join(str(size) for size in shape)


def _list_shipped(as_json: bool) -> int:
    if as_json:
        print_json(shipped())
        return 0
    rows = [
        (
            name,
            f"{entry['scores'].get('Set5', {}).get('psnr_db', float('nan')):.2f}",
            f"{entry['parameters']} {entry['dtype']}",
            f"{entry['collapsed_parameters']} float32" if "collapsed" in entry else "-",
        )
        for name, entry in shipped().items()
    ]
    columns = ("name", "Set5 PSNR / dB", "parameters", "NAME-collapsed")
    print_table("Shipped networks", columns, rows)
    names = ", ".join(entry.label for entry in _entries())
    text = f"Known by name, without weights (--architectures counts them): {names}"
    print("", *textwrap.wrap(text, 100, break_on_hyphens=False), sep="\n")
    return 0


class _Entry(NamedTuple):
    """Networks that differ by their enlargement: all names in one, where from, each name."""

    label: str
    source: str
    names: tuple[str, ...]

    def counts(self) -> list[tuple[Network, int, int]]:
        """Each network with its weights and MACs."""
        found = []
        for net in map(architecture, self.names):
            counted = cost(net, HIGH_HEIGHT // net.upscale, HIGH_WIDTH // net.upscale)
            found.append((net, counted.parameters, counted.macs))
        return found


def _entries() -> Iterator[_Entry]:
    for pattern, family in NAMES.items():
        every = "{" + ",".join(map(str, family.upscales)) + "}"
        for numbers in family.known:
            label, *names = (
                pattern.format(upscale=upscale, **numbers) for upscale in (every, *family.upscales)
            )
            yield _Entry(label, family.source, tuple(names))


def _list_architectures(as_json: bool) -> int:
    if as_json:
        print_json(
            [
                {
                    "name": net.name,
                    "upscale": net.upscale,
                    "channels": net.channels,
                    "source": entry.source,
                    "parameters": parameters,
                    "macs": macs,
                }
                for entry in _entries()
                for net, parameters, macs in entry.counts()
            ]
        )
        return 0
    rows = []
    for entry in _entries():
        counts = entry.counts()
        cells = [f"{p / 1e3:.2f} / {macs / 1e9:.3f}" for _, p, macs in counts]
        rows.append((entry.label, COLOURS[counts[0][0].channels], *cells, entry.source))
    print_table(
        f"Networks known by name: K weights / G MACs, collapsed, for an output of "
        f"{HIGH_WIDTH} x {HIGH_HEIGHT}",
        ("name", "works on", "x2", "x4", "source"),
        rows,
    )
    return 0
