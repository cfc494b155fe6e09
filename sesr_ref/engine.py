"""The two uses of a network with linear blocks: `run` it, and train it (`loss_and_grads`).

Both collapse first.  Training through the collapse composes functions; it is not a mode.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from sesr_ref.checks import check_input, check_params
from sesr_ref.collapse import collapse_with, collapse_with_vjp, collapsed
from sesr_ref.execute import compute, compute_gradients
from sesr_ref.limits import check, tile_shape
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params, check_array, check_finite, check_like
from sesr_ref.ops.losses import Loss, loss_named
from sesr_ref.ops.table import REFERENCE, Ops
from sesr_ref.tiles import HasTile, Tile, assemble, exact_margin, windows


def run(
    net: Network, params: Params, x: Array, ops: Ops = REFERENCE, tile: Tile | HasTile | None = None
) -> Array:
    """Enlarge images.

    Parameters
    ----------
    net : Network
        With or without linear blocks, which are collapsed first.
    params : dict of arrays
        Keyed ``layer.parameter``.
    x : (n, height, width, channels) float array
        In [0, 1]; float32 or float64, which is also the result's dtype.
    ops : Ops
        `REFERENCE` or the result of `fast`.
    tile : int, (int, int) or TilePlan, optional
        Work on tiles of this many input rows and columns, or on those that `plan_tiles` found, each
        with its exact halo: less memory, the same output (up to float rounding with `REFERENCE`,
        bit for bit with `fast`).

    Returns
    -------
    (n, upscale * height, upscale * width, channels) float array

    Raises
    ------
    ValueError
        If parameters or images do not fit or are not finite, or the tile's sides are not positive
        integers.
    """
    small, small_params = _collapsed_for(net, params, x, ops)
    _check_finite_params(params)
    if tile is None:
        return _run_whole(small, small_params, x, ops)
    shape = tile_shape(getattr(tile, "tile", tile))
    margin, step = exact_margin(small, ops)
    parts = windows(x.shape[1], x.shape[2], shape, margin, step)

    def whole(part: Array) -> Array:
        return _run_whole(small, small_params, part, ops)

    return assemble(whole, x, net.upscale, parts, x.dtype)


def _check_finite_params(params: Params) -> None:
    # all at once first: for small images, one check per array takes longer than the network
    if params and np.isfinite(np.concatenate([value.ravel() for value in params.values()])).all():
        return
    for name, value in params.items():
        check_finite(name, value)


def _collapsed_for(net: Network, params: Params, x: Array, ops: Ops) -> tuple[Network, Params]:
    """Collapse network and parameters, in the higher precision of `params` and `x`."""
    check(isinstance(ops, Ops), "ops", "REFERENCE or the result of fast()", ops)
    check_params(net, params)
    check_input(net, x)
    if x.dtype == np.float64:
        params = {name: value.astype(np.float64, copy=False) for name, value in params.items()}
    small, small_params = collapsed(net), collapse_with(net, params)
    return small, {name: value.astype(x.dtype, copy=False) for name, value in small_params.items()}


def _run_whole(net: Network, params: Params, x: Array, ops: Ops) -> Array:
    if ops.network is not None and (y := ops.network(net, params, x)) is not None:
        return y
    return compute(net, params, x, ops, keep=False)[net.output]


class Rounding(Protocol):
    """What makes a collapsed network compute on grids: `sesr_ref.Quantization` for instance."""

    def faked(self, net: Network, params: Params) -> tuple[Network, Params]:
        """The network and the parameters with everything rounded, in reals."""
        ...


def loss_and_grads(
    net: Network,
    params: Params,
    x: Array,
    target: Array,
    ops: Ops = REFERENCE,
    loss: str = "l1",
    log_share: float = 0.0,
    quantization: Rounding | None = None,
) -> tuple[float, Params]:
    """Compute the loss and the gradients of the network's own parameters, through the collapse.

    Parameters
    ----------
    net : Network
        With linear blocks (whose expanded parameters get the gradients) or without.
    params : dict of arrays
        Keyed ``layer.parameter``; if they are float64, so are the collapse and its gradient, even
        for float32 images.
    x : (n, height, width, channels) float array
        Low-resolution images in [0, 1].
    target : (n, upscale * height, upscale * width, channels) float array
        High-resolution images.
    ops : Ops
        The implementation.
    loss : str
        ``"l1"``, the mean absolute error over all elements; ``"charbonnier"``, a smooth version of
        it: the mean of ``sqrt(error**2 + 1e-6)``; ``"l2"``, 25 times the mean squared error;
        ``"log-mse"``, the mean over images of ``log(mean squared error + 1e-6)``.
    log_share : float
        Factor with which ``"log-mse"`` is added to the loss.
    quantization : Quantization, optional
        Grids that tensors and collapsed parameters are rounded to; gradients pass straight
        through the rounding, and are 0 for values beyond a grid's ends.

    Returns
    -------
    loss : float
        The value of that loss.
    dparams : dict of arrays
        Keyed as `params`.

    Raises
    ------
    ValueError
        If parameters, images and targets do not fit, images or targets are not finite, the loss is
        unknown, or its share is negative.  Parameters that are not finite do not raise: the loss is
        then not finite either, which is how `train` notices.

    Notes
    -----
    Bhardwaj et al. (MLSys 2022), section 3.3: the forward and backward pass see the small weights.
    """
    chosen = loss_named(loss, log_share)
    small, small_params = _collapsed_for(net, params, x, ops)
    check_array("the target", target)
    expected = (x.shape[0], x.shape[1] * net.upscale, x.shape[2] * net.upscale, x.shape[3])
    check_like("the target", target, expected, x.dtype)
    check(x.size, "the shape of images to train on", "of at least one pixel", x.shape)
    check_finite("the target", target)
    if quantization is not None:
        small, small_params = quantization.faked(small, small_params)
    result = None
    if ops.gradients is not None:
        result = ops.gradients(small, small_params, x, target, chosen.terms)
    value, dsmall = result or _loss_and_grads(small, small_params, x, target, ops, chosen)
    if quantization is not None:  # scales that the network itself does not have
        dsmall = {name: dsmall[name] for name in collapsed(net).param_shapes()}
    return value, collapse_with_vjp(net, params, dsmall)


def _loss_and_grads(
    net: Network, params: Params, x: Array, target: Array, ops: Ops, loss: Loss
) -> tuple[float, Params]:
    tensors = compute(net, params, x, ops)
    y = tensors[net.output]
    dy = loss.vjp(1.0, y, target)
    return loss.value(y, target), compute_gradients(net, params, tensors, dy, ops)
