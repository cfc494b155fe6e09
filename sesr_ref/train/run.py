"""One training run: its state from step to step, and the files that keep it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.engine import loss_and_grads
from sesr_ref.files import atomic_write
from sesr_ref.integers.fake import WeightRounding
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.table import Ops
from sesr_ref.params import save
from sesr_ref.train.checkpoint import FOREIGN, read_checkpoint, write_checkpoint
from sesr_ref.train.data import Pairs
from sesr_ref.train.optimiser import Adam, Recipe
from sesr_ref.train.ranks import Alone, Ranks

ALONE = Alone()
Validate = Callable[[Network, Params], float]
"""PSNR in dB of a network and its parameters."""


class Run:
    """The state of a training run and its files; `validation` says on what it is scored."""

    def __init__(
        self,
        net: Network,
        out: Path,
        recipe: Recipe,
        adam: Adam,
        ops: Ops,
        data: dict[str, Any],
        validation: dict[str, str] | None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.net, self.out, self.recipe, self.adam, self.ops = net, out, recipe, adam, ops
        self.data, self.validation, self.ranks = data, validation, ranks
        self._shared = ranks.sharing(ops, recipe.batch)
        self._own = ranks.images(ops, recipe.batch)
        self.rounding = WeightRounding(recipe.weight_bits) if recipe.weight_bits else None
        self.step = 0
        self.best: float | None = None
        self.losses: list[float] = []
        self.lengths: list[float] = []
        self.log: list[dict[str, Any]] = []
        self.checkpoint = out / "checkpoint.npz"

    def due(self, every: int) -> bool:
        return self.step == self.recipe.steps or (every > 0 and self.step % every == 0)

    def advance(self, pairs: Pairs) -> float:
        loss, dparams = self._gradients(pairs)
        rate = self.recipe.rate(self.step)
        self.lengths.append(self.adam.update(dparams, rate, self.step, self.ops.adam))
        self.losses.append(loss)
        self.step += 1
        return loss

    def _gradients(self, pairs: Pairs) -> tuple[float, Params]:
        rng = np.random.default_rng([self.recipe.seed, self.step])
        x, target = pairs.batch(rng, self.recipe.batch, self.recipe.crop, self._own)
        params = self.adam.params
        if self.recipe.collapse_dtype != "float32":
            params = {k: v.astype(self.recipe.collapse_dtype) for k, v in params.items()}
        with np.errstate(over="ignore", invalid="ignore"):  # the loss will tell
            recipe = self.recipe
            loss, dparams = loss_and_grads(
                self.net,
                params,
                x,
                target,
                self._shared,
                recipe.loss,
                recipe.log_share,
                self.rounding,
            )
        if not math.isfinite(loss):
            raise self._diverged(f"the loss is {loss} at step {self.step}")
        return loss, dparams

    def _diverged(self, what: str) -> FloatingPointError:
        kept = "the last good checkpoint is kept" if self.checkpoint.exists() else "none is kept"
        rate = f"the learning rate {self.recipe.lr} may be too high"
        return FloatingPointError(f"{what}: {rate}; {kept} in {self.out}")

    def validated(self, validate: Validate | None, pairs: Pairs) -> dict[str, Any] | None:
        """The log's new line, if one is due."""
        if not self.due(self.recipe.validate_every):
            return None
        psnr_db = self._score(validate, pairs) if validate else None
        row = {
            "step": self.step,
            "loss": float(np.mean(self.losses)),
            "psnr_db": psnr_db,
            "rate": self.recipe.rate(self.step - 1),
            "grad_norm": _mean(self.lengths),
        }
        self.log.append(row)
        self.forget_losses()
        with atomic_write(self.out / "log.jsonl") as stream:
            stream.write("".join(json.dumps(line) + "\n" for line in self.log).encode())
        if psnr_db is not None and (self.best is None or psnr_db > self.best):
            self.best = psnr_db
            save(self.out / "best.npz", self.net, self.adam.averaged)
        return row

    def forget_losses(self) -> None:
        """Begin anew to collect what the log's next line is the mean of."""
        self.losses.clear()
        self.lengths.clear()

    def _score(self, validate: Validate, pairs: Pairs) -> float:
        """PSNR; where there is none, the loss of the next step tells whether the run diverged."""
        try:
            self._check_finite(self.adam.averaged)
            with np.errstate(over="ignore", invalid="ignore"):  # the score will tell
                psnr_db = validate(self.net, self.adam.averaged)
        except (ValueError, FloatingPointError):
            self._next_loss(pairs)
            raise
        if not math.isfinite(psnr_db):
            self._next_loss(pairs)
            raise self._diverged(f"validation gave {psnr_db} after step {self.step - 1}")
        return psnr_db

    def _next_loss(self, pairs: Pairs) -> None:
        """Raise if it is not finite; ranks can only compute it together, which this one is not."""
        if self.ranks.size == 1:
            self._gradients(pairs)

    def _check_finite(self, arrays: Mapping[str, Array]) -> None:
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise self._diverged(f"weights are not finite after step {self.step - 1}")

    def agree(self) -> None:
        """Raise ValueError on all ranks unless they train the same."""
        for key, own in self._identity().items():
            self.ranks.same(key, json.dumps(own))

    def compare(self) -> None:
        """Raise ValueError on all ranks unless their weights have the same bits."""
        if self.ranks.size == 1:
            return
        digest = hashlib.sha256(self.adam.state["weights"].tobytes()).hexdigest()
        self.ranks.same("weights (its processor or libraries round differently)", digest)

    def write_checkpoint(self) -> None:
        self._check_finite(self.adam.state)
        meta = self._identity() | {
            "step": self.step,
            "best": self.best,
            "losses": self.losses,
            "log": self.log,
            "grad_norms": [x if math.isfinite(x) else None for x in self.lengths],
            "validation": self.validation,
            "engine": self.ops.name,
        }
        write_checkpoint(self.checkpoint, meta, self.adam.state)

    def read_checkpoint(self) -> None:
        try:
            meta, arrays = read_checkpoint(self.checkpoint, self.adam.state)
            try:
                self._take(arrays, meta)
            except (KeyError, TypeError, AttributeError):  # a description of something else
                raise ValueError(FOREIGN) from None
        except ValueError as error:
            raise ValueError(f"{self.checkpoint} cannot be gone on from: {error}") from None

    def _take(self, arrays: dict[str, Any], meta: dict[str, Any]) -> None:
        """Go on from a checkpoint's content once it is known to be sound."""
        older = json.loads(json.dumps(asdict(Recipe())))  # which lacks the newest fields
        meta["recipe"] = older | meta["recipe"] | {"steps": self.recipe.steps}
        meta["data"] = self.data | meta["data"]
        for key, own in self._identity().items():
            if (got := meta[key]) != own:
                raise ValueError(f"it is of another {key}: {_difference(got, own)}")
        self._check_validation(meta.get("validation"))
        if arrays.keys() != self.adam.state.keys():
            raise ValueError(f"it holds {sorted(arrays)}")
        for key, own in self.adam.state.items():
            sound = arrays[key].shape == own.shape and arrays[key].dtype == own.dtype
            if not sound or not np.isfinite(arrays[key]).all():
                raise ValueError(f"{key} must be {own.size} finite numbers of {own.dtype}")
        if not (isinstance(meta["step"], int) and 0 <= meta["step"] <= self.recipe.steps):
            raise ValueError(f"it is of step {meta['step']!r:.40}, not 0 to {self.recipe.steps}")
        self.losses, self.log = list(meta["losses"]), list(meta["log"])
        self.lengths = [math.inf if x is None else x for x in meta.get("grad_norms", [])]
        self.adam.state, self.step, self.best = arrays, meta["step"], meta["best"]

    def _check_validation(self, before: dict[str, str] | None) -> None:
        """Refuse to compare scores on different images; older checkpoints do not state theirs."""
        now = self.validation or {"what": "nothing", "sha256": "none"}
        if before and before["sha256"] != now["sha256"]:
            same = before["what"] == now["what"]
            what = "others of the same name" if same else now["what"]
            raise ValueError(f"validated on {before['what']} before, now on {what}")

    def _identity(self) -> dict[str, Any]:
        recipe = asdict(replace(self.recipe, checkpoint_every=0))
        network = json.loads(self.net.to_json())
        return {"network": network, "recipe": json.loads(json.dumps(recipe)), "data": self.data}


def _mean(values: list[float]) -> float | None:
    """None where there are none, or not all are finite, which JSON cannot state."""
    mean = float(np.mean(values)) if values else math.inf
    return mean if math.isfinite(mean) else None


def _difference(got: Any, own: dict[str, Any]) -> str:
    for key in own if isinstance(got, dict) else ():
        if got.get(key) != own[key]:
            return f"{key} was {got.get(key)!s:.80} and is {own[key]!s:.80}"
    return "it has other keys"
