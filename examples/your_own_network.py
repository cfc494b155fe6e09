"""
Your own network, and every tool on it
======================================

A network is a description: a tuple of layers. Whoever writes one has training, collapse, proof,
counting, the NPU model, export and the oracle at once. Here is one with two branches.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import sesr_ref as sr
from sesr_ref.network import Add, Concat, Conv, DepthToSpace, LinearBlock, PReLU
from sesr_ref.verify import prove, write_pack

# %%
# The description
# ---------------
#
# A layer's name is its output's name. A layer without ``inputs`` reads the layer before it; the
# image is "input". Sizes are checked when the network is made: a mistake is an error that names
# the layer. The last layer must make the image enlarged.


def two_branches(upscale: int = 2, features: int = 8, expand: int = 64) -> sr.Network:
    """Describe a network that sees fine and coarse structure side by side."""
    return sr.Network(
        f"two-branches-x{upscale}",
        upscale,
        channels=1,
        layers=(
            LinearBlock("head", features, 3, expand),
            PReLU("act"),
            LinearBlock("fine", features, 3, expand, residual=True, inputs=("act",)),
            LinearBlock("coarse", features, 5, expand, inputs=("act",)),
            Concat("both", inputs=("fine", "coarse")),
            PReLU("act_both"),
            Conv("tail", upscale**2, 3),
            Add("subpixels", inputs=("tail", "input")),
            DepthToSpace("shuffle", upscale),
        ),
    )


net = two_branches()
for name, shape in net.shapes(90, 120).items():
    print(f"{name:10} {shape}")

# %%
# Run and train it
# ----------------
#
# `loss_and_grads` is one step of a training; `sesr_ref.train.train` is all of it.

rng = np.random.default_rng(0)
x = rng.random((2, 30, 40, 1), np.float32)
target = rng.random((2, 60, 80, 1), np.float32)
params = sr.initialise(net, seed=0)
y = sr.run(net, params, x)
loss, gradients = sr.loss_and_grads(net, params, x, target)
print(y.shape, f"loss {loss:.3f}", f"{len(gradients)} gradients")

# %%
# Collapse it, and prove that
# ---------------------------
#
# Each linear block becomes one convolution; its tensor keeps its name. `prove` checks the
# collapse in exact rational arithmetic, then weights, tensors and gradients in floats.

small, weights = sr.collapsed(net), sr.collapse_params(net, params)
print([type(layer).__name__ for layer in small.layers])
checks = prove(net, params)
print(f"{sum(check.passed for check in checks)} of {len(checks)} checks passed")

# %%
# The oracle
# ----------
#
# Somebody's implementation joins the branches the wrong way round. Compared with the exact tensors,
# the first that is wrong is named; those behind it follow.

swapped = [
    replace(layer, inputs=layer.inputs[::-1]) if layer.name == "both" else layer
    for layer in small.layers
]
theirs = sr.forward(replace(small, layers=tuple(swapped)), weights, x[:1])
print(sr.compare(net, params, x[:1], {name: theirs[name] for name in ("fine", "both", "shuffle")}))

# %%
# Count it, estimate it on an NPU
# -------------------------------

counted = sr.cost(net, 540, 960)
print(f"{counted.parameters} weights, {counted.macs / 1e9:.2f} G multiply-accumulates")
estimate = sr.estimate(net, 540, 960, sr.ETHOS_N78_4TOPS, model="physical")
print(f"{estimate.dram_bytes / 1e6:.1f} MB, {estimate.latency_ms:.2f} ms on {estimate.npu.name}")

# %%
# Golden vectors, ONNX, our own file
# ----------------------------------

temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name)
write_pack(folder / "pack", net, params, x[:1], dtype="int8", files=("bin", "c", "hex"))
print(len(list((folder / "pack").iterdir())), "files of golden vectors")
try:
    sr.to_onnx(folder / "mine.onnx", net, params)
    again, _ = sr.from_onnx(folder / "mine.onnx")
    print("from ONNX:", [type(layer).__name__ for layer in again.layers])
except ImportError as error:
    print(error)
sr.save(folder / "mine.npz", net, params)

# %%
# From the command line, as a description
# ---------------------------------------
#
# `Network.to_json` writes the description, an editor may too. Commands that need no weights take
# the ``.json``; those that do take the ``.npz``.

(folder / "mine.json").write_text(net.to_json(indent=1), encoding="utf-8")
print(net.to_json()[:230], "...")


def sesr_ref(*arguments: str) -> None:
    """Run a command in the folder and show what it prints."""
    print("$ sesr-ref", *arguments)
    command = [sys.executable, "-m", "sesr_ref", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    print(done.stdout + done.stderr)


sesr_ref("info", "mine.json")
sesr_ref("cost", "mine.json", "--height", "540", "--width", "960")

# %%
# On an NPU; and the network that is run, from the file with its weights.

sesr_ref(
    "cost",
    "mine.json",
    "--height",
    "540",
    "--width",
    "960",
    "--npu",
    "ethos-n78-4tops",
    "--model",
    "physical",
)
sesr_ref("info", "mine.npz", "--collapsed")

temporary.cleanup()
