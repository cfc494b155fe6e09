"""How weights change in training: learning rates, the recipe, Adam."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.losses import LOSSES
from sesr_ref.params import INITS, split

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 + 0.5 * math.cos(math.pi * done),
    "linear": lambda done: 1.0 - done,
}
"""Learning rate, as a share of its peak, after a share `done` of the steps behind the warm-up."""


CHOICES: dict[str, tuple[str, ...]] = {
    "schedule": tuple(SCHEDULES),
    "loss": tuple(LOSSES),
    "init": tuple(INITS),
    "collapse_dtype": ("float32", "float64"),
    "low": ("8bit", "float"),
}
"""What a recipe's words may be."""


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults are the paper's (section 4.1).

    Parameters
    ----------
    steps : int
        The paper: 300 epochs of 1600.
    batch, crop : int
        Crops a step and their low-resolution pixels a side.
    lr : float
        Peak learning rate.
    schedule : str
        A key of `SCHEDULES`.
    warmup : int
        Steps over which the rate rises linearly to its peak.
    seed : int
        Of the start and of every batch.
    amsgrad : bool
        Divide by the largest second moment so far (Reddi et al., ICLR 2018).
    average : float
        Decay of a moving average of the weights, which is then what is scored and saved; 0: none.
    checkpoint_every, validate_every : int
        Steps; 0 means at the end alone.
    loss : str
        A key of `sesr_ref.ops.losses.LOSSES`.
    init, slope
        As `sesr_ref.initialise` takes them.
    collapse_dtype : str
        float32, or float64 to collapse (and take the collapse's gradient) in, then round.
    log_share : float
        So many times `sesr_ref.ops.losses.log_mse_loss` is added to the loss.
    low : str
        What the network sees: low-resolution luma as 8-bit images hold it, or as `imresize` of the
        luma in float gives it.
    lr_factors : tuple of (str, float)
        Layers whose learning rate is so many times that of the others.
    weight_bits : int
        Collapsed weights are rounded to so many bits at every step; 0: to none.
    """

    steps: int = 480_000
    batch: int = 32
    crop: int = 64
    lr: float = 5e-4
    schedule: str = "constant"
    warmup: int = 0
    seed: int = 0
    amsgrad: bool = False
    average: float = 0.0
    checkpoint_every: int = 1000
    validate_every: int = 1000
    loss: str = "l1"
    init: str = "glorot"
    slope: float = 0.0
    collapse_dtype: str = "float32"
    log_share: float = 0.0
    low: str = "8bit"
    lr_factors: tuple[tuple[str, float], ...] = ()
    weight_bits: int = 0

    def __post_init__(self) -> None:
        for key in ("steps", "batch", "crop"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be at least 1, got {getattr(self, key)}")
        for key in ("warmup", "seed", "checkpoint_every", "validate_every"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must not be negative, got {getattr(self, key)}")
        if not (0 < self.lr < math.inf):
            raise ValueError(f"lr must be positive, got {self.lr}")
        if not math.isfinite(self.slope):
            raise ValueError(f"slope must be finite, got {self.slope}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average must be in [0, 1), got {self.average}")
        if not 0 <= self.log_share < math.inf:
            raise ValueError(f"log_share must be finite and not negative, got {self.log_share}")
        if self.weight_bits not in (0, 4, 8):
            raise ValueError(f"weight_bits must be 0, 4 or 8, got {self.weight_bits}")
        for layer, factor in self.lr_factors:
            if not 0 <= factor < math.inf:
                raise ValueError(f"lr_factors of {layer} must not be negative, got {factor}")
        for key, known in CHOICES.items():
            if (got := getattr(self, key)) not in known:
                raise ValueError(f"{key} must be one of {list(known)}, got {got!r:.40}")

    def rate(self, step: int) -> float:
        """Learning rate of step 0, 1, ..., steps - 1."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        return self.lr * SCHEDULES[self.schedule](
            (step - self.warmup) / max(1, self.steps - self.warmup)
        )


CHUNK = 1 << 14
"""Weights changed at a time: few enough that all of Adam's vectors stay in a core's cache."""


class Adam:
    """Adam on one flat vector; `params` are views of it, so that a step is a few array passes.

    Kingma and Ba (ICLR 2015), Algorithm 1, in the form of its section 2's last paragraph.
    """

    BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-7  # Keras' defaults, the official code's

    def __init__(
        self,
        params: Params,
        amsgrad: bool = False,
        average: float = 0.0,
        lr_factors: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.shapes = {name: array.shape for name, array in params.items()}
        self.spans = _spans(self.shapes, lr_factors)
        flat = np.concatenate([array.ravel() for array in params.values()])
        self.state: dict[str, Array] = {"weights": flat, "mean": np.zeros_like(flat)}
        self.state["square"] = np.zeros_like(flat)
        if amsgrad:
            self.state["largest"] = np.zeros_like(flat)
        if average:
            self.state["average"] = flat.copy()
        self.decay = average

    @property
    def params(self) -> Params:
        """The weights being trained."""
        return self._views("weights")

    @property
    def averaged(self) -> Params:
        """The moving average of the weights if there is one, else the weights."""
        return self._views("average" if "average" in self.state else "weights")

    def _views(self, key: str) -> Params:
        return split(self.state[key], self.shapes)

    def update(
        self, dparams: Params, rate: float, step: int, kernel: Callable[..., int] | None = None
    ) -> float:
        """Change the weights by one step; returns the gradient's length.

        Parameters
        ----------
        dparams : dict of arrays
            Gradients, keyed as the parameters.
        rate : float
            Learning rate, ahead of the factors of single layers.
        step : int
            Counts from 0.
        kernel : function, optional
            `Ops.adam`.

        Returns
        -------
        float
            Root of the sum of the squares of all gradients.
        """
        d = np.concatenate([dparams[name].ravel() for name in self.shapes])
        d = d.astype(self.state["weights"].dtype, copy=False)
        length = math.sqrt(float(np.dot(d, d)))
        for span, factor in self.spans:
            state = {key: values[span] for key, values in self.state.items()}
            self._update_span(state, d[span], self._factors(factor * rate, step), kernel)
        return length

    def _update_span(
        self,
        state: dict[str, Array],
        d: Array,
        factors: tuple[float, ...],
        kernel: Callable[..., int] | None,
    ) -> None:
        done = kernel(state, d, factors) if kernel else 0
        for start in range(done, len(d), CHUNK):
            part = slice(start, start + CHUNK)
            self._update({k: v[part] for k, v in state.items()}, d[part], factors)

    def _factors(self, rate: float, step: int) -> tuple[float, ...]:
        """What a step multiplies by: the bias of both moments goes into the rate."""
        bias1, bias2 = 1 - self.BETA1 ** (step + 1), 1 - self.BETA2 ** (step + 1)
        decay = min(self.decay, (1 + step) / (10 + step))  # a short memory at first
        rate = rate * math.sqrt(bias2) / bias1
        return 1 - self.BETA1, 1 - self.BETA2, self.EPSILON, rate, 1 - decay

    def _update(self, state: dict[str, Array], d: Array, factors: tuple[float, ...]) -> None:
        """Overwrites `d`; every line is one pass over values that stay in the cache."""
        first, second, epsilon, rate, memory = (d.dtype.type(factor) for factor in factors)
        mean, square = state["mean"], state["square"]
        mean += (d - mean) * first
        d *= d
        square += (d - square) * second
        if "largest" in state:
            square = np.maximum(state["largest"], square, out=state["largest"])
        np.sqrt(square, out=d)
        d += epsilon
        np.divide(mean, d, out=d)
        d *= rate
        state["weights"] -= d
        if "average" in state:
            state["average"] += (state["weights"] - state["average"]) * memory


def _spans(
    shapes: Mapping[str, tuple[int, ...]], lr_factors: Mapping[str, float]
) -> list[tuple[slice, float]]:
    """Parts of the flat vector that share a factor of the learning rate."""
    layers = {name: name.rpartition(".")[0] for name in shapes}
    if odd := sorted(set(lr_factors) - set(layers.values())):
        known = ", ".join(dict.fromkeys(layers.values()))
        raise ValueError(f"no layer {odd[0]} has parameters, only {known}")
    spans: list[tuple[slice, float]] = []
    stop = 0
    for name, shape in shapes.items():
        start, stop = stop, stop + math.prod(shape)
        factor = float(lr_factors.get(layers[name], 1.0))
        if spans and spans[-1][1] == factor:
            start = spans.pop()[0].start
        spans.append((slice(start, stop), factor))
    return spans
