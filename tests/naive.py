"""Every operation as its definition: loops over pixels, in float64, nothing clever.

The oracle of the NumPy reference, as that is the oracle of the compiled kernels.  Names and
arguments are those of `sesr_ref.ops`; Algorithms 1 and 2 of the SESR paper are as it states them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref import network as nw

Array = npt.NDArray[Any]


def positions(*sizes: int) -> Iterable[tuple[int, ...]]:
    """Every index of an array with these sizes."""
    return itertools.product(*map(range, sizes))


def pixel(image: Array, row: int, column: int) -> Any:
    """The channels of a pixel; zeros outside the image."""
    height, width, channels = image.shape
    inside = 0 <= row < height and 0 <= column < width
    return image[row, column] if inside else np.zeros(channels)


def conv2d(x: Array, weight: Array, bias: Array | None = None, groups: int = 1) -> Array:
    n, height, width, channels = x.shape
    rows, columns, per_group, features = weight.shape
    y = np.zeros((n, height, width, features))
    for b, h, w, o in positions(*y.shape):
        group = o // (features // groups)
        mine = slice(group * per_group, (group + 1) * per_group)
        for i, j in positions(rows, columns):
            read = pixel(x[b], h + i - rows // 2, w + j - columns // 2)
            y[b, h, w, o] += read[mine] @ weight[i, j, :, o]
    assert channels == per_group * groups
    return y if bias is None else y + bias


def conv_transpose2d(
    x: Array, weight: Array, bias: Array | None, stride: int, padding: int
) -> Array:
    n, height, width, _ = x.shape
    k, _, _, features = weight.shape
    y = np.zeros((n, height * stride, width * stride, features))
    for b, h, w, i, j in positions(n, height, width, k, k):
        row, column = stride * h + i - padding, stride * w + j - padding
        if 0 <= row < y.shape[1] and 0 <= column < y.shape[2]:
            y[b, row, column] += x[b, h, w] @ weight[i, j]
    return y if bias is None else y + bias


def prelu(x: Array, slope: Array) -> Array:
    y = np.empty(x.shape)
    for index in positions(*x.shape):
        y[index] = x[index] if x[index] > 0 else slope[index[3]] * x[index]
    return y


def leaky_relu(x: Array, slope: float) -> Array:
    return prelu(x, np.full(x.shape[3], slope))


def sigmoid(x: Array) -> Array:
    return np.array([1 / (1 + math.exp(-value)) for value in x.flat]).reshape(x.shape)


def each(x: Array, function: Any) -> Array:
    """A function of every value by itself."""
    return np.array([function(float(value)) for value in x.flat]).reshape(x.shape)


def silu(x: Array) -> Array:
    return each(x, lambda v: v / (1 + math.exp(-v)))


def tanh(x: Array) -> Array:
    return each(x, math.tanh)


def gelu(x: Array, approximate: str) -> Array:
    def inner(v: float) -> float:
        if approximate == "none":
            return math.erf(v / math.sqrt(2))
        return math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))

    return each(x, lambda v: v * (1 + inner(v)) / 2)


def gain(x: Array, gain: Array) -> Array:
    y = np.empty(x.shape)
    for index in positions(*x.shape):
        y[index] = x[index] * gain[index[3]]
    return y


def batch_norm(x: Array, p: dict[str, Array], eps: float) -> Array:
    y = np.empty(x.shape)
    for index in positions(*x.shape):
        scale, offset, mean, var = (
            float(p[k][index[3]]) for k in ("scale", "offset", "mean", "var")
        )
        y[index] = (x[index] - mean) / math.sqrt(var + eps) * scale + offset
    return y


def stencil(x: Array, taps: Any, factor: Array | None, bias: Array | None) -> Array:
    y = np.zeros(x.shape)
    rows, columns = len(taps) // 2, len(taps[0]) // 2
    for b, h, w, c in positions(*x.shape):
        for i, j in positions(len(taps), len(taps[0])):
            y[b, h, w, c] += pixel(x[b], h + i - rows, w + j - columns)[c] * taps[i][j]
        y[b, h, w, c] *= 1 if factor is None else factor[c]
        y[b, h, w, c] += 0 if bias is None else bias[c]
    return y


def multiply(x: Array, other: Array) -> Array:
    y = np.empty(x.shape)
    for index in positions(*x.shape):
        y[index] = x[index] * other[(*index[:3], index[3] if other.shape[3] > 1 else 0)]
    return y


def pad(x: Array, size: int) -> Array:
    n, height, width, channels = x.shape
    y = np.empty((n, height + 2 * size, width + 2 * size, channels))
    for b, h, w in positions(*y.shape[:3]):
        y[b, h, w] = pixel(x[b], h - size, w - size)
    return y


def relu(x: Array) -> Array:
    return leaky_relu(x, 0.0)


def add(*xs: Array) -> Array:
    y = np.zeros(xs[0].shape)
    for index in positions(*y.shape):
        for x in xs:
            y[index] += x[(*index[:3], index[3] if x.shape[3] > 1 else 0)]
    return y


def concat(*xs: Array) -> Array:
    y = np.empty((*xs[0].shape[:3], sum(x.shape[3] for x in xs)))
    for b, h, w in positions(*y.shape[:3]):
        y[b, h, w] = [value for x in xs for value in x[b, h, w]]
    return y


def depth_to_space(x: Array, block: int, mode: str) -> Array:
    n, height, width, channels = x.shape
    out = channels // block**2
    y = np.empty((n, height * block, width * block, out))
    for b, h, w, row, column, c in positions(n, height, width, block, block, out):
        dcr, crd = (row * block + column) * out + c, (c * block + row) * block + column
        y[b, h * block + row, w * block + column, c] = x[b, h, w, dcr if mode == "DCR" else crd]
    return y


def shift(x: Array, offset: float) -> Array:
    return np.array([value + offset for value in x.flat]).reshape(x.shape)


def scale(x: Array, factor: float) -> Array:
    return np.array([value * factor for value in x.flat]).reshape(x.shape)


def clip(x: Array, low: float, high: float) -> Array:
    return np.array([min(max(value, low), high) for value in x.flat]).reshape(x.shape)


def l1_loss(y: Array, target: Array) -> float:
    return math.fsum(abs(a - b) for a, b in zip(y.flat, target.flat, strict=True)) / y.size


def charbonnier_loss(y: Array, target: Array) -> float:
    pairs = zip(y.flat, target.flat, strict=True)
    return math.fsum(math.hypot(a - b, 1e-3) for a, b in pairs) / y.size


def l2_loss(y: Array, target: Array) -> float:
    pairs = zip(y.flat, target.flat, strict=True)
    return 25 * math.fsum((float(a) - float(b)) ** 2 for a, b in pairs) / y.size


def log_mse_loss(y: Array, target: Array) -> float:
    crops = zip(y, target, strict=True)
    return math.fsum(math.log(l2_loss(a, b) / 25 + 1e-6) for a, b in crops) / len(y)


def cubic(t: float, a: float) -> float:
    """Keys' kernel (1981), the one formula behind both kinds of bicubic."""
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def clamped(i: int, size: int) -> int:
    return min(max(i, 0), size - 1)


def mirrored(i: int, size: int) -> int:
    while not 0 <= i < size:
        i = -1 - i if i < 0 else 2 * size - 1 - i
    return i


def interpolate(line: Array, centre: float, mode: str) -> Any:
    """The value between the samples of a line of (size, channels); pixel centres at integers."""
    near = range(math.floor(centre) - 1, math.floor(centre) + 3)
    if mode == "nearest":
        return line[clamped(math.floor(centre + 0.5), len(line))]
    if mode == "bilinear":
        return sum(max(0.0, 1 - abs(centre - i)) * line[clamped(i, len(line))] for i in near)
    if mode == "bicubic":
        return sum(cubic(centre - i, -0.5) * line[mirrored(i, len(line))] for i in near)
    return sum(cubic(centre - i, -0.75) * line[clamped(i, len(line))] for i in near)


def fake_quantize(x: Array, log_scale: Array, layer: nw.FakeQuantize) -> Array:
    """The nearest multiple of the scale that the grid has; Python rounds halves to even."""
    scale, z = math.exp(log_scale[0]), layer.zero_point
    y = np.empty_like(x)
    for at in np.ndindex(x.shape):
        code = min(max(round(float(x[at] / scale)) + z, layer.low), layer.high)
        y[at] = (code - z) * scale
    return y


def resize(x: Array, upscale: int, mode: str) -> Array:
    n, height, width, channels = x.shape
    tall = np.empty((n, height * upscale, width, channels))
    for b, h, w in positions(*tall.shape[:3]):
        tall[b, h, w] = interpolate(x[b, :, w], (h + 0.5) / upscale - 0.5, mode)
    y = np.empty((n, height * upscale, width * upscale, channels))
    for b, h, w in positions(*y.shape[:3]):
        y[b, h, w] = interpolate(tall[b, h], (w + 0.5) / upscale - 0.5, mode)
    return y


RULES: dict[type[nw.Layer], Any] = {
    nw.Conv: lambda s, x, p: conv2d(x[0], p["weight"], p.get("bias"), s.groups),
    nw.ConvTranspose: lambda s, x, p: conv_transpose2d(
        x[0], p["weight"], p.get("bias"), s.stride, s.crop
    ),
    nw.PReLU: lambda s, x, p: prelu(x[0], p["slope"]),
    nw.ReLU: lambda s, x, p: relu(x[0]),
    nw.LeakyReLU: lambda s, x, p: leaky_relu(x[0], s.slope),
    nw.Sigmoid: lambda s, x, p: sigmoid(x[0]),
    nw.SiLU: lambda s, x, p: silu(x[0]),
    nw.Tanh: lambda s, x, p: tanh(x[0]),
    nw.GELU: lambda s, x, p: gelu(x[0], s.approximate),
    nw.FakeQuantize: lambda s, x, p: fake_quantize(x[0], p["log_scale"], s),
    nw.Gain: lambda s, x, p: gain(x[0], p["gain"]),
    nw.BatchNorm: lambda s, x, p: batch_norm(x[0], p, s.eps),
    nw.Stencil: lambda s, x, p: stencil(x[0], s.taps, p.get("factor"), p.get("bias")),
    nw.Multiply: lambda s, x, p: multiply(*x),
    nw.Slice: lambda s, x, p: x[0][..., s.start : s.stop],
    nw.Pad: lambda s, x, p: pad(x[0], s.size),
    nw.Add: lambda s, x, p: add(*x),
    nw.Concat: lambda s, x, p: concat(*x),
    nw.DepthToSpace: lambda s, x, p: depth_to_space(x[0], s.block, s.mode),
    nw.Shift: lambda s, x, p: shift(x[0], s.offset),
    nw.Scale: lambda s, x, p: scale(x[0], s.factor),
    nw.Clip: lambda s, x, p: clip(x[0], s.low, s.high),
    nw.Resize: lambda s, x, p: resize(x[0], s.upscale, s.mode),
}


def forward(net: nw.Network, params: dict[str, Array], x: Array) -> dict[str, Array]:
    """Every tensor of a network of primitives, each layer by its definition."""
    tensors = {"input": x}
    for layer, inputs in net.steps():
        prefix = f"{layer.shares or layer.name}."
        own = {
            key.removeprefix(prefix): value
            for key, value in params.items()
            if key.startswith(prefix) and "." not in key.removeprefix(prefix)
        }
        tensors[layer.name] = RULES[type(layer)](layer, [tensors[i] for i in inputs], own)
    return tensors


def unpadded_conv(x: Array, weight: Array) -> Array:
    """Convolution without padding: the output is k - 1 smaller."""
    n, height, width, _ = x.shape
    k = len(weight)
    y = np.zeros((n, height - k + 1, width - k + 1, weight.shape[3]))
    for b, h, w in positions(*y.shape[:3]):
        for i, j in positions(k, k):
            y[b, h, w] += x[b, h + i, w + j] @ weight[i, j]
    return y


def algorithm_1(weights: Sequence[Array], k: int, channels: int) -> Array:
    """Collapse a linear block by sending the identity through it (SESR paper, Algorithm 1).

    Parameters
    ----------
    weights : sequence of (k_l, k_l, in, out) arrays
        The block's convolutions, the first one first.
    k : int
        Size of the collapsed kernel.
    channels : int
        The block's input channels.

    Returns
    -------
    (k, k, channels, out) array
    """
    delta = np.eye(channels)[:, None, None, :]
    y = np.pad(delta, ((0, 0), (k - 1, k - 1), (k - 1, k - 1), (0, 0)))
    for weight in weights:
        y = unpadded_conv(y, weight)
    return np.asarray(y[:, ::-1, ::-1].transpose(1, 2, 0, 3))


def algorithm_2(shape: tuple[int, ...]) -> Array:
    """The short residual as a weight (SESR paper, Algorithm 2)."""
    weight = np.zeros(shape)
    middle = {3: 1, 5: 2}.get(shape[0], shape[0] // 2)
    for i in range(shape[3]):
        weight[middle, middle, i, i] = 1
    return weight
