"""
Check a port written in C
=========================

A network is ported to C, with the weights of a golden pack's headers. `sr.compare` says that it is
right; a mistake is planted, and `sr.compare` names the layer and the mistake.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import sesr_ref as sr
from sesr_ref.verify import write_pack

# %%
# The network, an input, a golden pack
# ------------------------------------
#
# One with a single block, four features and random weights keeps the C short. `write_pack` writes
# every tensor and every weight of one run, here as C headers: arrays called ``sesr_head_weight``,
# ``sesr_act0_slope`` and so on, floats in hexadecimal, so that no bit is lost.

compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name)

net = sr.sesr(blocks=1, features=4, expand=16)
params = sr.initialise(net, seed=1)
params["act0.slope"] = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
x = np.random.default_rng(1).random((1, 13, 18, 1), np.float32)
small = sr.collapsed(net)
print("layers:", ", ".join(f"{layer.name} ({type(layer).__name__})" for layer in small.layers))

write_pack(folder / "pack", net, params, x, files=("npz", "c"))
print("headers:", *sorted(file.name for file in (folder / "pack").glob("*.h")), sep="\n  ")

# %%
# The port
# --------
#
# Images are rows of pixels of channels; weights are (row, column, in, out). The border is zero.
# Every tensor is written as raw floats, so that a mistake can be traced to its layer.

SOURCE = r"""
#include <stdio.h>
#include "tensor.input.h"
#include "parameter.head.weight.h"
#include "parameter.block0.weight.h"
#include "parameter.act0.slope.h"
#include "parameter.tail.weight.h"

enum { H = 13, W = 18, F = 4, UP = 2 };

static void conv(const float *x, int in, const float *weight, int k, int out, float *y)
{
    for (int row = 0; row < H; row++)
        for (int column = 0; column < W; column++)
            for (int o = 0; o < out; o++) {
                float sum = 0;
                for (int i = 0; i < k; i++)
                    for (int j = 0; j < k; j++) {
                        int r = row + i - k / 2, c = column + j - k / 2;
                        if (r < 0 || r >= H || c < 0 || c >= W)
                            continue;
                        for (int n = 0; n < in; n++)
                            sum += x[(r * W + c) * in + n]
                                   * weight[((i * k + j) * in + n) * out + o];
                    }
                y[(row * W + column) * out + o] = sum;
            }
}

static void write_tensor(const char *name, const float *values, int count)
{
    char path[64];
    snprintf(path, sizeof path, "%s.bin", name);
    FILE *file = fopen(path, "wb");
    fwrite(values, sizeof *values, count, file);
    fclose(file);
}

static float head[H * W * F], block0[H * W * F], act0[H * W * F], features[H * W * F];
static float tail[H * W * 4], subpixels[H * W * 4], shuffle0[H * W * 4];

int main(void)
{
    conv(sesr_input, 1, sesr_head_weight, 5, F, head);
    conv(head, F, sesr_block0_weight, 3, F, block0);
    for (int i = 0; i < H * W * F; i++) {
#ifdef FAULT
        float slope = sesr_act0_slope[0];
#else
        float slope = sesr_act0_slope[i % F];
#endif
        act0[i] = block0[i] > 0 ? block0[i] : slope * block0[i];
        features[i] = act0[i] + head[i];
    }
    conv(features, F, sesr_tail_weight, 5, UP * UP, tail);
    for (int i = 0; i < H * W * 4; i++)
        subpixels[i] = tail[i] + sesr_input[i / 4];
    for (int row = 0; row < H * UP; row++)
        for (int column = 0; column < W * UP; column++)
            shuffle0[row * W * UP + column] =
                subpixels[((row / UP) * W + column / UP) * 4 + (row % UP) * UP + column % UP];

    write_tensor("head", head, H * W * F);
    write_tensor("block0", block0, H * W * F);
    write_tensor("act0", act0, H * W * F);
    write_tensor("shuffle0", shuffle0, H * W * 4);
    return 0;
}
"""
(folder / "port.c").write_text(SOURCE, encoding="utf-8")


def run_port(name: str, *options: str) -> Path:
    """Compile the port and run it in a folder of its own, where its tensors are then."""
    out = folder / name
    out.mkdir()
    program = out / "port.exe"
    command = [str(compiler), "-std=c99", "-O2", *options, "-I", str(folder / "pack"), "-o"]
    subprocess.run([*command, str(program), str(folder / "port.c")], check=True)
    subprocess.run([str(program)], cwd=out, check=True)
    program.unlink()
    return out


# %%
# Is it right?
# ------------
#
# No sum of floats is the right one: it depends on the order. `sr.compare` computes for every
# element how far an honest implementation in float32 may be off, and judges by that.
# On the command line: ``sesr-ref compare my.npz input.npy right/``.

if compiler is None:
    print("skipped: there is no C compiler here (cc, gcc or clang)")
else:
    report = sr.compare(net, params, x, run_port("right"))
    print(report)
    for tensor in report.tensors.values():
        print(f"{tensor.name:9} {tensor.verdict:8} largest error {tensor.error:.1e}")

# %%
# And with a mistake?
# -------------------
#
# ``-DFAULT`` takes the first channel's slope for every channel. `sr.compare` names the first
# tensor that is wrong and, where a usual mistake explains it, the mistake.

if compiler is not None:
    wrong = sr.compare(net, params, x, run_port("wrong", "-DFAULT"))
    print(wrong)
    assert wrong.first_wrong == "act0"

temporary.cleanup()
