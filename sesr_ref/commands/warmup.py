"""Compile the kernels in advance instead of at their first use, and cache them on disk."""

from __future__ import annotations

import argparse
import time

import numpy as np

from sesr_ref.commands.console import print_line
from sesr_ref.commands.models import (
    DEFAULT_MODEL,
    add_model_argument,
    compiled_before,
    foreign,
    network_named,
)
from sesr_ref.engine import loss_and_grads
from sesr_ref.engine import run as run_network
from sesr_ref.network import Network
from sesr_ref.ops.table import Ops, fast
from sesr_ref.params import initialise


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref warmup``."""
    text = f"network for which to compile the kernels (default {DEFAULT_MODEL})"
    add_model_argument(parser, text, nargs="?", default=DEFAULT_MODEL)
    parser.add_argument(
        "--no-training", action="store_true", help="compile only the kernels for enlarging"
    )


def run(args: argparse.Namespace) -> int:
    """Run one tiny image and one tiny training step."""
    net, ops = network_named(args.model, foreign(args)), fast(threads=1)
    jobs = {"enlarging": _enlarge} | ({} if args.no_training else {"training": train_once})
    for name, job in jobs.items():
        print_line(f"{name}: compiling, up to 20 s the first time ...")
        begun = time.monotonic()
        job(net, ops)
        print_line(f"{name}: ready after {time.monotonic() - begun:.1f} s")
    if ops.cache_folder is not None:
        kept = compiled_before(ops)
        state = "cached in" if kept else "not cached, since this folder cannot be written:"
        print_line(f"{state} {ops.cache_folder()}")
        return 0 if kept else 2
    return 0


def _enlarge(net: Network, ops: Ops) -> None:
    run_network(net, initialise(net), np.zeros((1, 8, 8, net.channels), np.float32), ops)


def train_once(net: Network, ops: Ops) -> None:
    """Compute the gradients of a tiny image, which compiles what training needs."""
    x = np.zeros((1, 8, 8, net.channels), np.float32)
    target = np.ones((1, 8 * net.upscale, 8 * net.upscale, net.channels), np.float32)
    loss_and_grads(net, initialise(net), x, target, ops)
