"""Describe a network: its layers, shapes and parameters; without MODEL, list what is shipped."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from sesr_ref.collapse import collapsed
from sesr_ref.commands.console import print_json, print_table
from sesr_ref.commands.models import network_named
from sesr_ref.network import Network
from sesr_ref.receptive import halo
from sesr_ref.shipped import COLLAPSED, shipped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref info``."""
    parser.add_argument(
        "model", metavar="MODEL", nargs="?",
        help="shipped name, file, or an architecture such as sesr-m11-x4 or fsrcnn-x2",
    )  # fmt: skip
    parser.add_argument("--collapsed", action="store_true", help="the network that is run")
    parser.add_argument(
        "--json", action="store_true", help="for programs; includes the description"
    )


def run(args: argparse.Namespace) -> int:
    """Print the table or JSON."""
    if args.model is None:
        return _list_shipped(args.json)
    net = network_named(args.model)
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
        ("layer", "kind", "reads", "makes", "parameters"), rows,
    )  # fmt: skip
    return 0


def _facts(net: Network) -> dict[str, Any]:
    shapes, params = net.shapes(16, 24), net.param_shapes()
    layers = [
        {
            "name": layer.name, "kind": type(layer).__name__, "inputs": inputs,
            "shape": shapes[layer.name],
            "parameters": sum(
                math.prod(s) for k, s in params.items() if k.rpartition(".")[0] == layer.name
            ),
        }
        for layer, inputs in net.steps()
    ]  # fmt: skip
    return {
        "name": net.name, "upscale": net.upscale, "channels": net.channels, "halo": halo(net),
        "parameters": sum(math.prod(s) for s in params.values()), "layers": layers,
        "description": json.loads(net.to_json()),
    }  # fmt: skip


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
    return 0
