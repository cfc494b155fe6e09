"""Training with grids: what is trained is the network that the integers will compute."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.collapse import collapsed
from sesr_ref.engine import run
from sesr_ref.integers.fake import SUFFIX, WeightRounding, with_grids, without_grids
from sesr_ref.integers.grid import Quantization
from sesr_ref.integers.parameters import IntegerParams
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.table import REFERENCE, Ops
from sesr_ref.train.data import EVERYTHING, Pairs
from sesr_ref.train.loop import Progress, train
from sesr_ref.train.optimiser import Recipe

RATE_OF_SCALES = 0.3
"""Learning rate of the scales' logarithms, as a multiple of the weights'."""

Quantized = tuple[Network, IntegerParams, Quantization]


@dataclass(frozen=True)
class Taught(Pairs):
    """Pairs whose targets are what another network makes of the small images."""

    teacher: tuple[Network, Params]
    ops: Ops = REFERENCE

    @classmethod
    def by(cls, pairs: Pairs, net: Network, params: Params, ops: Ops = REFERENCE) -> Taught:
        """Let a network stand for the originals."""
        return cls(pairs.upscale, pairs.low, pairs.high, (net, params), ops)

    def summary(self) -> dict[str, int | str]:
        """That of the pairs, and who the teacher is."""
        net, params = self.teacher
        digest = hashlib.sha256(net.to_json().encode())
        for name in net.param_shapes():
            digest.update(np.ascontiguousarray(params[name]).data)
        return super().summary() | {"teacher": f"{net.name} {digest.hexdigest()}"}

    def batch(
        self, rng: np.random.Generator, count: int, crop: int, some: slice = EVERYTHING
    ) -> tuple[Array, Array]:
        """Random crops, and the teacher's enlargement of them."""
        x, _ = super().batch(rng, count, crop, some)
        return x, run(*self.teacher, x, self.ops)


def train_quantized(
    net: Network,
    params: Params,
    q: Quantization,
    pairs: Pairs,
    out: Path,
    recipe: Recipe,
    *,
    score: Callable[[Quantized], float] | None = None,
    ops: Ops = REFERENCE,
    resume: bool = False,
    report: Callable[[Progress], None] | None = None,
) -> tuple[Quantized, Params]:
    """Train a network on the grids that its integers will have; scales are learned with it.

    The input's and the output's grids stay as they are.  Gradients pass straight through every
    rounding; they go to the expanded weights, whose collapse is rounded at every step.

    Parameters
    ----------
    net, params
        With linear blocks, which are trained through their collapse, or without.
    q : Quantization
        Where the grids start, from `sesr_ref.calibrate`.
    pairs : Pairs
        What to learn from; `Taught` pairs have a network's results for targets.
    out : Path
        Folder of the run, as for `train`.
    recipe : Recipe
        How; `weight_bits` of 0 is taken for 8.
    score : function, optional
        PSNR in dB of a network in integers; best.npz is the best so far.
    ops, resume, report
        As for `train`.

    Returns
    -------
    quantized : (Network, dict of integer arrays, Quantization)
        As `sesr_ref.load_quantized` returns it.
    params : dict of float32 arrays
        The trained parameters of `net`, as real numbers.

    Raises
    ------
    ValueError
        If grids do not fit the network; and as `train` does.

    Notes
    -----
    Esser et al., "Learned Step Size Quantization" (ICLR 2020); the learned numbers are the scales'
    logarithms, which Adam changes by relative steps.
    """
    rounding, scales = with_grids(net, q, on_codes=recipe.low == "8bit")
    recipe = replace(
        recipe, weight_bits=recipe.weight_bits or 8, lr_factors=_factors(rounding, recipe)
    )
    behind = WeightRounding(recipe.weight_bits)

    def validate(trained: Network, values: Params) -> float:
        assert score is not None
        return score(without_grids(trained, values, behind, q))

    extra: dict[str, Any] = {} if score is None else {"validate": validate}
    start = {**params, **scales}
    trained = train(
        rounding, pairs, out, recipe, start=start, ops=ops, resume=resume, report=report, **extra
    )
    own = {name: trained[name] for name in net.param_shapes()}
    _, iparams, learned = without_grids(rounding, trained, behind, q)
    return (collapsed(net), iparams, learned), own


def _factors(net: Network, recipe: Recipe) -> tuple[tuple[str, float], ...]:
    """Learning rates of the scales; those of the input and of the output do not move."""
    given = dict(recipe.lr_factors)
    for layer in net.layers:
        if layer.name.endswith(SUFFIX):
            fixed = layer.name in (f"input{SUFFIX}", net.output)
            given.setdefault(layer.name, 0.0 if fixed else RATE_OF_SCALES)
    return tuple(sorted(given.items()))
