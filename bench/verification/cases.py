"""Cases of `run_verify.py`: networks, trained or random, on photographs and drawings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import sesr_ref as sr
from sesr_ref.exchange.shuffle_order import with_shuffle_mode
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.shipped import shipped

NETWORKS = ("sesr-m5-x2", "sesr-m5-x4", "sesr-xl-x2", "sesr-xl-x4", "fsrcnn-x2", "fsrcnn-x4")
SUFFIXES = (".png", ".bmp", ".jpg")


class Case(NamedTuple):
    """A network, collapsed and with PyTorch's order of channels, on one image."""

    network: str
    net: sr.Network
    params: Params
    image: str
    x: Array


def cases(folder: Path | None, size: int, count: int) -> Iterator[Case]:
    """Every network on every image, with shipped weights if there are any."""
    from sesr_ref.commands.models import network_named

    pictures = dict(images(folder, size, count))
    for name in NETWORKS:
        if name in shipped():
            net, params = sr.load(name)
            label = f"{name}, trained"
        else:
            net = network_named(name)
            params, label = initialised(net), f"{name}, random"
        exact: Params = {key: array.astype(np.float64) for key, array in params.items()}
        small = {k: v.astype(np.float32) for k, v in sr.collapse_params(net, exact).items()}
        net, small = with_shuffle_mode(sr.collapsed(net), small, "CRD")
        for picture, x in pictures.items():
            yield Case(label, net, small, picture, x)


def initialised(net: sr.Network, seed: int = 0) -> Params:
    """Random weights; slopes are of both signs and not 0, as in trained networks."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.uniform(-0.1, 0.4, a.shape).astype(np.float32) if name.endswith("slope") else a
        for name, a in sr.initialise(net, seed).items()
    }


def images(folder: Path | None, size: int, count: int) -> Iterator[tuple[str, Array]]:
    """The middle of each photograph, and a flat, a graded and a black-and-white picture."""
    if folder is not None:
        files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)[:count]
        named = {file.stem: sr.images.read_luma(file) for file in files}
    else:
        from skimage import data

        photographs = ("astronaut", "camera", "coffee", "chelsea", "rocket")[:count]
        named = {name: sr.images.luma_of(getattr(data, name)()[::3, ::3]) for name in photographs}
    rows, columns = np.indices((size // 2, size // 2 + 7))
    drawn: dict[str, Array] = {
        "flat": np.full(rows.shape, 0.37),
        "gradient": (rows + 2 * columns) / (3.5 * size),
        "black and white": (rows // 5 + columns // 7) % 2 * 1.0,
    }
    for name, luma in (named | drawn).items():
        top, left = (max(0, (length - size) // 2) for length in luma.shape)
        part = luma[top : top + size, left : left + size]
        yield name, np.ascontiguousarray(part[None, ..., None], np.float32)
