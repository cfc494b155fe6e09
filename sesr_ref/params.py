"""Parameters: initialise, save, load.

A file of weights is an .npz without pickles: one array for each parameter, and the network's
description as ``network.json`` (UTF-8 bytes), so that the file describes itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.arrays_file import Archive, open_npz
from sesr_ref.checks import check_names, check_params
from sesr_ref.files import atomic_write
from sesr_ref.limits import check, naming, one_of
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params, check_finite
from sesr_ref.shipped import shipped, shipped_file

DESCRIPTION = "network.json"
GRIDS = "quantization.json"
"""What a file of integers holds as well (`sesr_ref.integers.file`)."""
MAX_DESCRIPTION_BYTES = 4 << 20
MAX_PARAMETERS = 1 << 28
OTHER_FORMATS = (".onnx", ".safetensors", ".pth", ".pt")
CHECKPOINT_META = "meta"
MAX_META_BYTES = 64 << 20  # it holds a log
DTYPES = ("float16", "float32", "float64")


INITS: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda fan_in, fan_out: 6 / (fan_in + fan_out),
    "he": lambda fan_in, fan_out: 6 / fan_in,
    "lecun": lambda fan_in, fan_out: 3 / fan_in,
}
"""Square of the largest weight that may be drawn: three times the variance."""
INITIAL = {"scale": 1.0, "var": 1.0, "gain": 1.0, "factor": 1.0}
"""Parameters of one value per channel that do not start at 0."""


def initialise(net: Network, seed: int = 0, init: str = "glorot", slope: float = 0.0) -> Params:
    """Draw uniform weights; biases are 0 (Keras' defaults, the official code's).

    Parameters
    ----------
    net : Network
        With linear blocks or without.
    seed : int
        The same seed gives the same parameters; each depends only on the seed, its name and its
        shape.
    init : str
        Variance of the weights of each convolution, given `fan_in`, the number of inputs of one
        output, and `fan_out`, the number of outputs of one input: ``"glorot"`` 2 / (fan_in +
        fan_out) (Glorot and Bengio, AISTATS 2010; Keras' default), ``"he"`` 2 / fan_in (He et al.,
        ICCV 2015), ``"lecun"`` 1 / fan_in.  A linear block has two convolutions.
    slope : float
        Initial slope of every PReLU (Keras: 0, which is a ReLU at first; PyTorch: 0.25).

    Returns
    -------
    dict of float32 arrays
        Keyed ``layer.parameter``.

    Raises
    ------
    ValueError
        If the seed is negative, `init` is unknown or the slope is not finite.
    """
    check(seed >= 0, "the seed", "0 or more", seed)
    one_of("init", init, INITS)
    check(math.isfinite(slope), "the slope", "finite", slope)
    shapes = net.param_shapes()
    return {name: _initial(name, shape, seed, init, slope) for name, shape in shapes.items()}


def _initial(name: str, shape: tuple[int, ...], seed: int, init: str, slope: float) -> Array:
    key = name.rpartition(".")[2]
    if len(shape) != 4:
        return np.full(shape, {"slope": slope, **INITIAL}.get(key, 0), np.float32)
    taps = shape[0] * shape[1]
    limit = math.sqrt(INITS[init](taps * shape[2], taps * shape[3]))
    rng = np.random.default_rng([seed, *name.encode()])
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def save(
    path: str | Path, net: Network, params: Params, overwrite: bool = True, compress: bool = False
) -> None:
    """Write a network and its parameters to an .npz; `load` reads it back.

    Parameters
    ----------
    path : path
        File to write; its folder must exist.  Written under a temporary name, then renamed.
    net : Network
        The network that the parameters belong to.
    params : dict of arrays
        float16, float32 or float64, kept as they are.
    overwrite : bool
        Whether to replace an existing file.
    compress : bool
        Make the file a tenth smaller; slower to write.

    Raises
    ------
    ValueError
        If `params` do not fit `net` or are not finite.
    FileExistsError
        If the file exists and `overwrite` is false.
    """
    check_params(net, {name: _at_least_float32(array) for name, array in params.items()})
    for name, array in params.items():
        check_finite(name, array)
    text = np.frombuffer(net.to_json().encode(), np.uint8)
    arrays: dict[str, Any] = {DESCRIPTION: text, **params}
    with atomic_write(Path(path), overwrite) as stream:
        (np.savez_compressed if compress else np.savez)(stream, **arrays)


def load(name: str | Path) -> tuple[Network, Params]:
    """Read a network and its parameters.

    Parameters
    ----------
    name : str or path
        A shipped name, such as ``"sesr-m5-x2"`` (with its linear blocks) or
        ``"sesr-m5-x2-collapsed"``, or a path to an .npz written by `save`; of a training's
        checkpoint.npz the moving average of its weights, if it has one, else the weights.

    Returns
    -------
    net : Network
        As it was saved.
    params : dict of float32 or float64 arrays
        float16 arrays are returned as float32.

    Raises
    ------
    FileNotFoundError
        If `name` is neither a shipped name nor a file; lists the shipped names.
    IsADirectoryError
        If it is a folder.
    ValueError
        If the file is not an .npz of weights, holds pickles, non-finite numbers or parameters that
        do not fit its description, or a shipped file's SHA-256 differs from the manifest's.
    """
    path = file_of_model(name)
    with naming(path, (ValueError, KeyError)), open_npz(path) as archive:
        return _read(archive)


def file_of_model(name: str | Path) -> Path:
    """Find the .npz of a shipped name or a path.

    Parameters
    ----------
    name : str or path
        As `load` takes it.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        If there is neither such a name nor such a file; lists the shipped names.
    IsADirectoryError
        If it is a folder.
    ValueError
        If it is a file of another format, or a shipped file's SHA-256 differs from the manifest's.
    """
    path = shipped_file(str(name)) or Path(name)
    if path.is_dir():
        raise IsADirectoryError(f"{name} is a folder, not a file of weights")
    if path.suffix in OTHER_FORMATS and path.is_file():
        raise ValueError(f"{name}: use load_any to read {path.suffix} files; load reads only .npz")
    if not path.is_file():
        known = ", ".join(sorted(shipped())) or "none"
        raise FileNotFoundError(f"{name}: no such file and no shipped network (shipped: {known})")
    return path


def _read(archive: Archive) -> tuple[Network, Params]:
    names = set(archive.names)
    if GRIDS in names:
        raise ValueError("it holds a network in integers, here one in floating point is needed")
    if DESCRIPTION not in names and {CHECKPOINT_META, "weights"} <= names:
        return _read_checkpoint(archive)
    if DESCRIPTION not in names:
        raise ValueError(f"no {DESCRIPTION} inside: sesr_ref.save did not write this file")
    text = archive.read(DESCRIPTION, dtypes=("uint8",), limit=MAX_DESCRIPTION_BYTES).tobytes()
    with naming(DESCRIPTION):
        net = Network.from_json(text.decode())
    shapes = checked_shapes(net)
    check_names("parameter", names - {DESCRIPTION}, shapes)
    params: Params = {}
    for name, shape in shapes.items():
        array = archive.read(name, shape, DTYPES)
        check_finite(name, array)
        params[name] = _at_least_float32(array)
    return net, params


def checked_shapes(net: Network) -> Mapping[str, tuple[int, ...]]:
    """Shapes of all parameters; ValueError where they are more than a file may hold."""
    shapes = net.param_shapes()
    count = sum(math.prod(shape) for shape in shapes.values())
    check(count <= MAX_PARAMETERS, "the number of parameters", f"at most {MAX_PARAMETERS}", count)
    return shapes


def _read_checkpoint(archive: Archive) -> tuple[Network, Params]:
    """Read the weights that a training would save if it ended at this checkpoint."""
    text = archive.read(CHECKPOINT_META, dtypes=("uint8",), limit=MAX_META_BYTES).tobytes()
    with naming("no network in this checkpoint", (ValueError, KeyError, TypeError, RecursionError)):
        net = Network.from_json(json.dumps(json.loads(text)["network"]))
    shapes = checked_shapes(net)
    key = "average" if "average" in archive.names else "weights"
    count = sum(math.prod(shape) for shape in shapes.values())
    flat = archive.read(key, (count,), ("float32", "float64"))
    check_finite(key, flat)
    return net, split(flat, shapes)


def split(flat: Array, shapes: Mapping[str, tuple[int, ...]]) -> Params:
    """Cut one flat vector into arrays, in the order of the shapes.

    Parameters
    ----------
    flat : (n,) array
        All parameters one after another.
    shapes : mapping
        Shape of each parameter.

    Returns
    -------
    dict of arrays
        Views, keyed as `shapes`.
    """
    views, start = {}, 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        views[name] = flat[start:stop].reshape(shape)
        start = stop
    return views


def _at_least_float32(array: Array) -> Array:
    half = isinstance(array, np.ndarray) and array.dtype == np.float16
    return array.astype(np.float32) if half else array
