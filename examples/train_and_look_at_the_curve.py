"""
Train a network and look at the curve
=====================================

A small SESR learns to enlarge drawn pictures, in seconds on a CPU. A real run differs in the
pictures and in the number of steps; ``sesr-ref train --data DIR --out runs/m5`` makes one from a
folder of images.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import sesr_ref as sr
from sesr_ref.train import Pairs, Progress, Recipe, train

# %%
# Pictures
# --------
#
# Black and white regions with curved borders: what interpolation blurs and a network can learn to
# keep sharp. `Pairs` holds 8-bit Y, small and large; ``training_pairs`` makes one from a folder.

rng = np.random.default_rng(0)


def drawn_picture(size: int = 96) -> np.ndarray:
    """Draw where a sum of random waves is positive, at four times the size, and reduce it."""
    rows, columns = np.mgrid[: 4 * size, : 4 * size] / (4 * size)
    total = np.zeros((4 * size, 4 * size))
    for across, down, phase in rng.uniform(-6, 6, (6, 3)):
        total += np.sin(2 * np.pi * (across * columns + down * rows) + phase)
    return sr.imresize(np.where(total > 0, 200, 60).astype(np.uint8), 1 / 4)


high = [drawn_picture() for _ in range(32)]
low = [sr.imresize(image, 1 / 2) for image in high]
pairs = Pairs(2, low[:24], high[:24])

# %%
# A score
# -------
#
# Eight pictures are kept apart. PSNR in dB, and that of bicubic interpolation to compare with.


def mean_psnr(enlarged: Iterable[np.ndarray]) -> float:
    """Return the mean PSNR of pictures, 0 to 1, on those that nothing is learnt from."""
    pairs = zip(high[24:], enlarged, strict=True)
    return float(np.mean([sr.psnr(h / 255, y.astype(float), border=2) for h, y in pairs]))


def score(net: sr.Network, params: dict[str, np.ndarray]) -> float:
    """Return the score of a network."""
    x = np.stack(low[24:])[..., None].astype(np.float32) / 255
    return mean_psnr(sr.run(net, params, x, ops=ops)[..., 0].clip(0, 1))


bicubic = mean_psnr(sr.imresize(image, 2) / 255 for image in low[24:])

# %%
# Training
# --------
#
# Every step collapses the linear blocks, runs the small network, and carries the gradients back
# through the collapse. `train` writes ``weights.npz``, a log and checkpoints into a folder; stopped
# and called again with ``resume=True`` it ends with the bits of a run that was never stopped.

ops = sr.REFERENCE  # sr.fast() for more than a trial
net = sr.sesr(blocks=3, features=8, expand=64, short_residuals=False)
recipe = Recipe(
    steps=400, batch=8, crop=24, lr=2e-3, schedule="cosine", warmup=50, validate_every=50
)
curve: list[tuple[int, float]] = []


def note(now: Progress) -> None:
    """Keep every validation."""
    if now.psnr_db is not None:
        curve.append((now.step, now.psnr_db))


with tempfile.TemporaryDirectory() as folder:
    params = train(net, pairs, Path(folder) / "run", recipe, validate=score, ops=ops, report=note)
    print("written:", *sorted(file.name for file in (Path(folder) / "run").glob("[!.]*")))

print(f"bicubic {bicubic:.2f} dB, the network {score(net, params):.2f} dB")

# %%
# The curve
# ---------

figure, (left, middle, right) = plt.subplots(
    1, 3, figsize=(11, 3.4), width_ratios=(2, 1, 1), layout="constrained"
)
left.plot(*zip(*curve, strict=True), marker="o", label=net.name)
left.axhline(bicubic, linestyle=":", color="black", label="bicubic")
left.set(xlabel="steps", ylabel="PSNR / dB")
left.legend()
x = low[-1][None, ..., None].astype(np.float32) / 255
for axis, title, image in (
    (middle, "bicubic", sr.imresize(low[-1], 2)),
    (right, "the network", sr.run(net, params, x, ops=ops)[0, ..., 0]),
):
    axis.imshow(image[24:72, 24:72], cmap="gray", interpolation="nearest")
    axis.set_title(title)
    axis.axis("off")
plt.show()
