"""
Cost a network on your own NPU
==============================

Describe hardware as data; see which passes a network becomes there, what bounds each, what tiles
and a larger SRAM are worth. How the model counts: :doc:`/cost-model`.
"""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

import sesr_ref as sr

# %%
# The hardware
# ------------
#
# 16 input channels by 16 output channels by 4 units make 1024 multiply-accumulates a cycle. What
# you do not state is as in Arm's Ethos-N78; ``sesr-ref cost --npu-file mine.toml`` reads the same
# from a file.

mine = sr.Npu(
    name="mine",
    sram_bytes=1 << 20,
    units=4,
    clock_hz=1e9,
    dram_bytes_per_second=8e9,
    fitted_bytes_per_second=8e9,
    picojoules_per_mac=0.5,
    picojoules_per_dram_byte=100.0,
)
per_second = mine.macs_per_second / 1e12
print(f"{mine.macs_per_cycle} multiply-accumulates a cycle, {per_second:.2f} T a second")

# %%
# One network on it
# -----------------
#
# Linear blocks are collapsed first. The model "physical" counts each tensor of the DRAM written
# once and read once by each reader.

net = sr.sesr(blocks=5, activation="relu", input_residual=False)
result = sr.estimate(net, 540, 960, mine, model="physical")
print(f"{'pass':10} {'engine':7} {'MB':>6} {'cycles':>8} {'bound':8} {'ms':>6}")
for p in result.passes:
    row = f"{p.dram_bytes / 1e6:6.2f} {p.mce_cycles:8} {p.bound:8} {p.latency_ms:6.3f}"
    print(f"{p.name:10} {p.engine:7} {row}")
energy = result.joules or 0.0
print(
    f"{result.latency_ms:.2f} ms, {result.frames_per_second:.1f} FPS, {1e3 * energy:.2f} mJ a frame"
)

# %%
# Tiles
# -----
#
# Tiles that fit the SRAM keep the tensors between layers out of the DRAM; each reads its halo.
# The plan can be run: the output is that of the whole image.

plan = sr.plan_tiles(net, 540, 960, mine)
best = plan.best
print(f"best: {best.count} tiles of {best.tile[1]} x {best.tile[0]}, halo {plan.halo}:", end=" ")
print(f"{best.dram_bytes('physical') / 1e6:.1f} MB, {best.frames_per_second('physical'):.1f} FPS")
if plan.depth_first is not None:
    print(f"rows through all layers at once: {plan.depth_first.frames_per_second:.1f} FPS")

x = np.random.default_rng(0).random((1, 150, 200, 1))
params = sr.initialise(net)
same = np.allclose(sr.run(net, params, x, tile=plan), sr.run(net, params, x), rtol=0, atol=1e-12)
print(f"run in tiles of {plan.tile}: the output of the whole image? {same}")

# %%
# What is worth buying?
# ---------------------
#
# The time of the fastest tiles and of the whole image, as one number of the hardware changes.

figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained", sharey=True)
sizes = [1 << n for n in range(18, 23)]
speeds = [4e9, 8e9, 16e9, 32e9]
for axis, label, values, variants in (
    (
        axes[0],
        "SRAM / MB",
        [s / 2**20 for s in sizes],
        [replace(mine, sram_bytes=s) for s in sizes],
    ),
    (
        axes[1],
        "DRAM / (GB/s)",
        [s / 1e9 for s in speeds],
        [replace(mine, fitted_bytes_per_second=s) for s in speeds],
    ),
):
    plans = [sr.plan_tiles(net, 540, 960, npu) for npu in variants]
    axis.semilogx(values, [p.best.latency_ms("physical") for p in plans], "o-", label="best tiles")
    whole = [p.whole.latency_ms("physical") if p.whole else np.nan for p in plans]
    axis.semilogx(values, whole, "s--", label="whole image")
    axis.set(
        xlabel=label, ylabel="ms a frame", xticks=values, xticklabels=[f"{v:g}" for v in values]
    )
    axis.minorticks_off()
    axis.grid(alpha=0.3)
axes[0].legend()
plt.show()
