"""Training: a network and an image size compiled into a program of kernels, and its run.

The program is made once for a network and a size (`Plan`), then run image by image: each image's
gradients go to a row of their own, and the rows are added up in order, so that the result does not
depend on which thread took which image.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_kernels import training_step as step
from sesr_kernels.convolve import AFTER, KEEP, OUTS, PRELU, RELU
from sesr_kernels.emit import LANES
from sesr_kernels.host import HOST
from sesr_kernels.layers import Conv, Single
from sesr_kernels.packing import pack, pad_outputs, round_up, transposed
from sesr_kernels.phases import phase_weight, phase_weight_vjp, reach
from sesr_kernels.rows import COLUMNS, ROWS
from sesr_kernels.schedule import Unsupported
from sesr_kernels.shuffles import combined
from sesr_kernels.threads import Threads, share

Array = npt.NDArray[Any]
Params = dict[str, Array]


class Slot(NamedTuple):
    """Where a parameter's partial sums end up in a row of gradients, and how to read them."""

    start: int
    size: int
    unpack: Callable[[Array], Params]


class Weight(NamedTuple):
    """A piece of the packed parameters and how to fill it."""

    start: int
    pack: Callable[[Params], Array]


class Plan:
    """The program for one network and one size of its input.

    Parameters
    ----------
    net : Network
        Collapsed; read by the names of its layers' kinds and fields.
    height, width : int
        Of one input image.
    given_dy : bool
        Instead of a loss, take the output's gradient; for a network of one convolution, whose
        weight's gradient alone is wanted.

    Raises
    ------
    Unsupported
        For a kind of layer, a kernel size or a structure that the program cannot state.
    """

    def __init__(self, net: Any, height: int, width: int, given_dy: bool = False) -> None:
        self.net, self.upscale = net, net.upscale
        self.channels = {name: shape[2] for name, shape in net.shapes(16, 24).items()}
        self.geometry = _geometry(height, width, _padding(net))
        self.planes = 0
        self.rows: list[list[int]] = []
        self.shifts: list[int] = []
        self.numbers: list[float] = []
        self.weights: list[Weight] = []
        self.packed_size = 0
        self.slots: list[Slot] = []
        self.sums_size = 0
        self.free: dict[int, list[int]] = {}
        self.workspaces: deque[tuple[Array, Array]] = deque()
        self.inputs = self.allocate(net.channels, exact=True)  # first: where `_load` puts it
        self.ones = self.allocate(1, exact=True)
        self.places = np.empty((0, 3), np.int64)  # subpixel of each channel
        program = _Program(self)
        (program.write_weights if given_dy else program.write)()
        self.program = np.array(self.rows, np.int64)
        self.shift_table = np.array(self.shifts or [0], np.int64)
        self.number_table = np.array(self.numbers or [0], np.float32)

    @property
    def plane_bytes(self) -> int:
        """Distance of two channels."""
        return 4 * int(self.geometry[step.PLANE])

    def allocate(self, channels: int, exact: bool = False) -> int:
        """Byte offset of a tensor, with room for whole groups of channels unless `exact`."""
        planes = channels if exact else round_up(channels, max(OUTS, ROWS))
        if self.free.get(planes):
            return self.free[planes].pop()
        start = self.planes
        self.planes += planes
        return start * self.plane_bytes

    def release(self, offset: int, channels: int) -> None:
        """Let a later tensor of the same size have this place."""
        planes = round_up(channels, max(OUTS, ROWS))
        self.free.setdefault(planes, []).append(offset)

    def pack(self, size: int, fill: Callable[[Params], Array]) -> int:
        """Byte offset of a new piece of packed parameters."""
        start = self.packed_size
        self.weights.append(Weight(start, fill))
        self.packed_size += round_up(size, 16)
        return 4 * start

    def reserve(self, size: int, unpack: Callable[[Array], Params]) -> int:
        """Byte offset of `size` new vectors of partial sums."""
        start = self.sums_size
        self.slots.append(Slot(start, size, unpack))
        self.sums_size += size
        return 4 * LANES * start

    def packed(self, params: Params) -> Array:
        """All parameters in the kernels' order."""
        result = np.zeros(self.packed_size, np.float32)
        for weight in self.weights:
            values = weight.pack(params).ravel()
            result[weight.start : weight.start + len(values)] = values
        return result

    def workspace(self) -> tuple[Array, Array]:
        """Planes and partial sums for one thread, from an earlier step if there are any."""
        try:
            return self.workspaces.pop()
        except IndexError:
            size = self.planes * int(self.geometry[step.PLANE])
            work = np.zeros(size + 64, np.float32)
            skip = -work.ctypes.data % 64 // 4
            work = work[skip : skip + size]
            first = self.ones // 4
            work[first : first + int(self.geometry[step.PLANE])] = 1
            return work, np.zeros(self.sums_size * LANES, np.float32)


def _padding(net: Any) -> int:
    """Columns of zeros between rows, and rows above and below: the farthest tap's distance."""
    return max([1, *(_size(layer) // 2 for layer in net.layers)])


def _size(layer: Any) -> int:
    """Width of the convolution kernel a layer turns into; 0 for other layers."""
    if type(layer).__name__ == "ConvTranspose":
        return 2 * reach(layer.kernel_size, layer.stride, layer.crop) + 1
    return int(layer.kernel_size) if type(layer).__name__ == "Conv" else 0


def _geometry(height: int, width: int, padding: int) -> Array:
    pitch = width + padding
    start = round_up(padding * pitch + padding, LANES)
    length = (height - 1) * pitch + width
    tiles = -(-length // HOST.tile)
    end = start + tiles * HOST.tile + padding * pitch + padding + LANES
    plane = round_up(end, 32) + 16  # an odd number of cache lines: channels do not alias
    count = -(-length // LANES)
    return np.array([height, width, padding, pitch, start, plane, tiles, count], np.int64)


class _Program:
    """Writes a plan's program: the layers forward, the loss, the layers backward."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.net = plan, plan.net
        self.steps = list(self.net.steps())
        self.readers: dict[str, list[Any]] = {}
        for layer, inputs in self.steps:
            for name in inputs:
                self.readers.setdefault(name, []).append(layer)
        self.tensors = {"input": plan.inputs}
        self.gradients: dict[str, int] = {}
        self.kept: dict[str, int] = {}  # what an activation saw
        self.fused: dict[str, str] = {}  # convolution: the activation in its store
        self.trained = {"input": False}
        self.shuffled: set[str] = set()  # tensors that are depth-to-space of what is computed
        self.slopes: dict[str, tuple[int, int]] = {}
        self.channels = dict(plan.channels)

    def write(self) -> None:
        """Fill the plan's tables."""
        for layer, inputs in self.steps:
            kind = type(layer).__name__
            if kind not in RULES:
                raise Unsupported(kind)
            self.trained[layer.name] = kind in _TRAINED or any(self.trained[i] for i in inputs)
            if self.shuffled & set(inputs) and kind not in _AFTER_SHUFFLE:
                raise Unsupported(f"{kind} behind a shuffle")
            RULES[kind].forward(self, layer, inputs)
        self._loss()
        for layer, inputs in reversed(self.steps):
            if self.trained[layer.name] and layer.name in self.gradients:
                RULES[type(layer).__name__].backward(self, layer, inputs)

    def write_weights(self) -> None:
        """The backward half of one convolution, without the gradient of its input."""
        ((layer, inputs),) = self.steps
        features = layer.features
        self.plan.places = np.array([(0, 0, c) for c in range(features)], np.int64)
        self.gradients[layer.name] = self.plan.allocate(features)
        dy = self.gradients[layer.name]
        self.emit(step.LOSS, dy, dy, 1)
        _conv_vjp(self, layer, inputs)

    def _loss(self) -> None:
        output = self.net.output
        places = _places(self)
        if len(places) != self.channels[output]:
            raise Unsupported("no single shuffle")
        self.plan.places = np.array(places, np.int64)
        self.gradients[output] = self.plan.allocate(self.channels[output])
        self.emit(step.LOSS, self.tensors[output], self.gradients[output])

    def emit(self, *fields: int) -> None:
        """Append a row of the program."""
        self.plan.rows.append([*fields, *[0] * (step.FIELDS - len(fields))])

    def pass_on(self, name: str, dy: int, last: bool) -> bool:
        """Add `dy` to the gradient of `name`; whether it took over the place of `dy`."""
        channels = self.channels[name]
        stride = self.plan.plane_bytes
        if name not in self.gradients:
            if last:
                self.gradients[name] = dy
                return True
            self.gradients[name] = self.plan.allocate(channels)
            zero = self.zeros()
            self.emit(step.ADD, dy, stride, zero, 0, self.gradients[name], channels)
        else:
            there = self.gradients[name]
            self.emit(step.ADD, there, stride, dy, stride, there, channels)
        return False

    def zeros(self) -> int:
        """A plane that nothing writes to."""
        if not hasattr(self, "_zeros"):
            self._zeros = self.plan.allocate(1, exact=True)
        return self._zeros

    def number(self, *values: float) -> int:
        """Index of constants in the table of numbers."""
        self.plan.numbers += values
        return len(self.plan.numbers) - len(values)


class _Rule(NamedTuple):
    forward: Callable[[_Program, Any, tuple[str, ...]], None]
    backward: Callable[[_Program, Any, tuple[str, ...]], None]


def _conv_spec(layer: Any) -> tuple[int, int, Callable[[Params], Array]]:
    """Kernel size, phases and weight of a convolution or a transposed one."""
    name = f"{layer.shares or layer.name}.weight"
    if type(layer).__name__ == "Conv":
        return layer.kernel_size, 1, lambda params: params[name]
    stride, crop = layer.stride, layer.crop
    return _size(layer), stride**2, lambda params: phase_weight(params[name], stride, crop)


def _conv(p: _Program, layer: Any, inputs: tuple[str, ...]) -> None:
    size, phases, weight = _conv_spec(layer)
    if size not in (1, 3, 5) or getattr(layer, "groups", 1) != 1:
        raise Unsupported("convolution")
    channels, features = p.channels[inputs[0]], layer.features * phases
    p.channels[layer.name] = features
    if phases > 1:
        p.shuffled.add(layer.name)
    readers = p.readers.get(layer.name, [])
    follower: Any = readers[0] if len(readers) == 1 else None
    kind = type(follower).__name__
    groups = -(-features // OUTS)
    packed = p.plan.pack(
        groups * OUTS * size * size * channels, lambda params: pack(weight(params))
    )
    bias = _bias(p, layer, phases, groups * OUTS)
    target = p.plan.allocate(features)
    kept, slope, flags = target, bias, 0
    if kind in _ACTIVATIONS and phases == 1:
        p.fused[layer.name] = follower.name
        slope, _ = _slope(p, follower, features)
        flags = RELU if kind == "ReLU" else PRELU | KEEP
        kept = target if kind == "ReLU" else p.plan.allocate(features)
        p.tensors[follower.name] = target
        p.kept[follower.name] = kept
    p.tensors[layer.name] = kept
    p.emit(step.CONV, p.tensors[inputs[0]], size, channels, groups, packed, bias, target, kept,
           round_up(features, OUTS), slope, 0, 0, 0, 0, flags)  # fmt: skip


def _bias(p: _Program, layer: Any, phases: int, size: int) -> int:
    name = f"{layer.shares or layer.name}.bias"
    if not layer.bias:
        return p.plan.pack(size, lambda params: np.zeros(size, np.float32))
    return p.plan.pack(size, lambda params: pad_outputs(np.tile(params[name], phases)))


def _conv_vjp(p: _Program, layer: Any, inputs: tuple[str, ...]) -> None:
    size, phases, weight = _conv_spec(layer)
    (x,) = inputs
    channels, features = p.channels[x], layer.features * phases
    dy = p.gradients.pop(layer.name)
    stride = p.plan.plane_bytes
    pitch = int(p.plan.geometry[step.PITCH])
    half = size // 2
    shifts = [
        c * stride + 4 * ((i - half) * pitch + j - half)
        for c in range(channels) for i in range(size) for j in range(size)
    ]  # fmt: skip
    ones = p.plan.ones - p.tensors[x]
    shifts += [ones] * (round_up(len(shifts) + 1, COLUMNS) - len(shifts))
    first = len(p.plan.shifts)
    p.plan.shifts += shifts
    groups, columns = -(-features // ROWS), len(shifts) // COLUMNS
    unpack = _unpack_weight(layer, size, channels, features, groups, columns)
    result = p.plan.reserve(groups * columns * ROWS * COLUMNS, unpack)
    p.emit(step.CORRELATE, dy, p.tensors[x], groups, first, columns, result)
    if p.trained[x]:
        _input_gradient(p, x, dy, size, features, weight)
    p.plan.release(dy, features)


def _input_gradient(
    p: _Program, x: str, dy: int, size: int, features: int, weight: Callable[[Params], Array]
) -> None:
    channels = p.channels[x]
    groups = -(-channels // OUTS)
    packed = p.plan.pack(
        groups * OUTS * size * size * features, lambda params: pack(transposed(weight(params)))
    )
    bias = p.plan.pack(groups * OUTS, lambda params: np.zeros(groups * OUTS, np.float32))
    flags = AFTER if x in p.gradients else 0
    target = p.gradients.setdefault(x, -1)
    if target < 0:
        target = p.gradients[x] = p.plan.allocate(channels)
    p.emit(step.CONV, dy, size, features, groups, packed, bias, target, target,
           round_up(channels, OUTS), bias, target, p.plan.plane_bytes, 0, 0, flags)  # fmt: skip


def _unpack_weight(
    layer: Any, size: int, channels: int, features: int, groups: int, columns: int
) -> Callable[[Array], Params]:
    name = layer.shares or layer.name

    def unpack(values: Array) -> Params:
        blocks = values.reshape(groups, columns, ROWS, COLUMNS).transpose(1, 3, 0, 2)
        table = blocks.reshape(columns * COLUMNS, groups * ROWS)[:, :features]
        taps = channels * size * size
        dweight = table[:taps].reshape(channels, size, size, features).transpose(1, 2, 0, 3)
        result: Params = {}
        if type(layer).__name__ == "ConvTranspose":
            dweight = phase_weight_vjp(dweight, layer.kernel_size, layer.stride, layer.crop)
        result[f"{name}.weight"] = dweight
        if layer.bias:
            result[f"{name}.bias"] = table[taps].reshape(-1, layer.features).sum(0)
        return result

    return unpack


def _slope(p: _Program, layer: Any, channels: int) -> tuple[int, int]:
    """Where an activation's slopes are, and how many floats lie between two channels'."""
    name = f"{layer.shares or layer.name}.slope"
    fixed = getattr(layer, "slope", 0.0)
    size = round_up(channels, OUTS)
    if type(layer).__name__ == "PReLU":
        found = p.plan.pack(size, lambda params: pad_outputs(params[name]))
    else:
        found = p.plan.pack(size, lambda params: np.full(size, fixed, np.float32))
    p.slopes[layer.name] = (found, 1)
    return p.slopes[layer.name]


def _activate(p: _Program, layer: Any, inputs: tuple[str, ...]) -> None:
    (x,) = inputs
    channels = p.channels[layer.name] = p.channels[x]
    if x in p.shuffled:
        p.shuffled.add(layer.name)
    if p.fused.get(x) == layer.name:
        return
    slope, every = _slope(p, layer, channels)
    p.tensors[layer.name] = p.plan.allocate(channels)
    p.kept[layer.name] = p.tensors[x]
    p.emit(step.ACTIVATION, p.tensors[x], p.tensors[layer.name], channels, slope, 0, every)


def _activate_vjp(p: _Program, layer: Any, inputs: tuple[str, ...]) -> None:
    (x,) = inputs
    channels = p.channels[x]
    dy = p.gradients.pop(layer.name)
    slope, every = p.slopes[layer.name]
    name = f"{layer.shares or layer.name}.slope"
    learnt = type(layer).__name__ == "PReLU"
    result = p.plan.reserve(channels, lambda values: {name: values} if learnt else {})
    p.emit(step.ACTIVATION_VJP, dy, p.kept[layer.name], channels, slope, result, every)
    if p.trained[x] and not p.pass_on(x, dy, last=True):
        p.plan.release(dy, channels)


def _add(p: _Program, layer: Any, inputs: tuple[str, ...]) -> None:
    channels = p.channels[layer.name] = p.channels[inputs[0]]
    if any((i in p.shuffled) != (inputs[0] in p.shuffled) for i in inputs):
        raise Unsupported("sum of resolutions")
    stride = p.plan.plane_bytes
    target = p.tensors[layer.name] = p.plan.allocate(channels)
    x, rest = p.tensors[inputs[0]], inputs[1:]
    if not rest:
        p.emit(step.ADD, x, stride, p.zeros(), 0, target, channels)
    for name in rest:
        if p.channels[name] not in (1, channels):
            raise Unsupported("sum of different channels")
        step_ = stride if p.channels[name] == channels else 0
        p.emit(step.ADD, x, stride, p.tensors[name], step_, target, channels)
        x = target


def _add_vjp(p: _Program, layer: Any, inputs: tuple[str, ...]) -> None:
    channels, stride = p.channels[layer.name], p.plan.plane_bytes
    dy = p.gradients.pop(layer.name)
    wanted = [name for name in inputs if p.trained[name]]
    for name in wanted:
        if p.channels[name] != channels:  # repeated over the channels: sum them
            if name not in p.gradients:
                p.gradients[name] = p.plan.allocate(1)
                p.emit(step.ADD, dy, 0, p.zeros(), 0, p.gradients[name], 1)
                first = 1
            else:
                first = 0
            there = p.gradients[name]
            for c in range(first, channels):
                p.emit(step.ADD, there, 0, dy + c * stride, 0, there, 1)
    same = [name for name in wanted if p.channels[name] == channels]
    taken = False
    for i, name in enumerate(same):
        taken = p.pass_on(name, dy, last=i == len(same) - 1) or taken
    if not taken:
        p.plan.release(dy, channels)


def _shuffle(p: _Program, layer: Any, inputs: tuple[str, ...]) -> None:
    p.tensors[layer.name] = p.tensors[inputs[0]]
    p.channels[layer.name] = p.channels[inputs[0]]
    p.shuffled.add(layer.name)


def _shuffle_vjp(p: _Program, layer: Any, inputs: tuple[str, ...]) -> None:
    dy = p.gradients.pop(layer.name)
    if not p.pass_on(inputs[0], dy, last=True):
        p.plan.release(dy, p.channels[layer.name])


def _pointwise(p: _Program, layer: Any, inputs: tuple[str, ...]) -> None:
    (x,) = inputs
    channels = p.channels[layer.name] = p.channels[x]
    if x in p.shuffled:
        p.shuffled.add(layer.name)
    kind, numbers, _, _ = _POINTWISE[type(layer).__name__](layer)
    target = p.tensors[layer.name] = p.plan.allocate(channels)
    p.emit(kind, p.tensors[x], target, channels, p.number(*numbers))


def _pointwise_vjp(p: _Program, layer: Any, inputs: tuple[str, ...]) -> None:
    (x,) = inputs
    dy, channels = p.gradients.pop(layer.name), p.channels[x]
    _, _, kind, numbers = _POINTWISE[type(layer).__name__](layer)
    source = p.tensors[x] if kind == step.CLIP_VJP else dy
    p.emit(kind, source, dy, channels, p.number(*numbers))
    if not p.pass_on(x, dy, last=True):
        p.plan.release(dy, channels)


_POINTWISE: dict[str, Callable[[Any], tuple[int, tuple[float, float], int, tuple[float, float]]]]
_POINTWISE = {
    "Shift": lambda layer: (step.SCALE, (1, layer.offset), step.SCALE, (1, 0)),
    "Scale": lambda layer: (step.SCALE, (layer.factor, 0), step.SCALE, (layer.factor, 0)),
    "Clip": lambda layer: (
        step.CLIP, (layer.low, layer.high), step.CLIP_VJP, (layer.low, layer.high)
    ),
}  # fmt: skip
_TRAINED = ("Conv", "ConvTranspose", "PReLU")
_ACTIVATIONS = ("PReLU", "ReLU", "LeakyReLU")
_AFTER_SHUFFLE = ("DepthToSpace", "ReLU", "LeakyReLU", "Shift", "Scale", "Clip")

RULES = {
    "Conv": _Rule(_conv, _conv_vjp),
    "ConvTranspose": _Rule(_conv, _conv_vjp),
    "PReLU": _Rule(_activate, _activate_vjp),
    "ReLU": _Rule(_activate, _activate_vjp),
    "LeakyReLU": _Rule(_activate, _activate_vjp),
    "Add": _Rule(_add, _add_vjp),
    "DepthToSpace": _Rule(_shuffle, _shuffle_vjp),
    "Shift": _Rule(_pointwise, _pointwise_vjp),
    "Scale": _Rule(_pointwise, _pointwise_vjp),
    "Clip": _Rule(_pointwise, _pointwise_vjp),
}


def _places(p: _Program) -> list[tuple[int, int, int]]:
    """Row, column and channel of the output for each channel ahead of the shuffles."""
    blocks: list[tuple[int, str]] = []
    layers = {layer.name: (layer, inputs) for layer, inputs in p.steps}
    name = p.net.output
    while name in p.shuffled:
        layer, (name, *_) = layers[name]
        if type(layer).__name__ == "ConvTranspose":
            blocks.append((layer.stride, "DCR"))
            break
        if type(layer).__name__ == "DepthToSpace":
            blocks.append((layer.block, layer.mode))
    return combined(p.channels[p.net.output], blocks[::-1])[1]


@lru_cache(maxsize=8)
def _plan(net: Any, height: int, width: int) -> Plan | None:
    try:
        return Plan(net, height, width)
    except Unsupported:
        return None


def gradients(
    net: Any, params: Params, x: Array, target: Array, threads: Threads | None = None
) -> tuple[float, Params] | None:
    """L1 loss of a network without linear blocks, and the gradients of its parameters.

    Parameters
    ----------
    net : Network
        Read by the names of its layers' kinds and fields.
    params : dict of float32 arrays
        Its parameters.
    x : (n, height, width, channels) float32 array
        Low-resolution images.
    target : (n, upscale * height, upscale * width, channels) float32 array
        High-resolution images.
    threads : Threads, optional
        How many share the images; the result's bits do not depend on it.

    Returns
    -------
    (float, dict of arrays) or None
        None for a network, dtype or size that these kernels do not take.
    """
    arrays = (x, target, *params.values())
    if any(array.dtype != np.float32 for array in arrays) or not x.size:
        return None
    plan = _plan(net, x.shape[1], x.shape[2])
    if plan is None:
        return None
    losses, rows = _run(plan, plan.packed(params), x, target, threads or Threads())
    total = rows.sum(0)
    result: Params = {}
    for slot in plan.slots:
        for name, value in slot.unpack(total[slot.start : slot.start + slot.size]).items():
            result[name] = result[name] + value if name in result else value
    loss = float(losses.sum() / target.size)
    return loss, {name: np.ascontiguousarray(result[name]) for name in params}


def weight_gradients(x: Array, dy: Array, size: int, threads: Threads) -> tuple[Array, Array]:
    """Gradients of a convolution's weight and bias.

    Parameters
    ----------
    x : (n, height, width, in) float32 array
        What it read.
    dy : (n, height, width, out) float32 array
        Gradient of its result.
    size : int
        Of its kernel.
    threads : Threads
        How many share the images.

    Returns
    -------
    dweight : (size, size, in, out) float32 array
    dbias : (out,) float32 array
    """
    layer = Conv(dy.shape[3], size, groups=1, bias=True)
    plan = _weight_plan(Single(layer, x.shape[3]), x.shape[1], x.shape[2])
    _, rows = _run(plan, np.zeros(1, np.float32), x, dy, threads)
    found = plan.slots[0].unpack(rows.sum(0))
    return found["layer.weight"], found["layer.bias"]


@lru_cache(maxsize=8)
def _weight_plan(net: Single, height: int, width: int) -> Plan:
    return Plan(net, height, width, given_dy=True)


def _run(
    plan: Plan, packed: Array, x: Array, target: Array, threads: Threads
) -> tuple[Array, Array]:
    losses, rows = np.zeros(len(x)), np.empty((len(x), plan.sums_size), np.float32)
    dloss = np.float32(1 / target.size)

    def worker(following: Callable[[], int]) -> None:
        work, sums = plan.workspace()
        while (i := following()) >= 0:
            losses[i] = step.train_image(
                plan.program, plan.shift_table, plan.number_table, plan.geometry, x[i], target[i],
                plan.places, work, sums, rows[i], packed.ctypes.data, plan.upscale, dloss,
            )  # fmt: skip
        plan.workspaces.append((work, sums))

    share(len(x), worker, threads)
    return losses, rows
