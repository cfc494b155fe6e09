"""The choice of an implementation, as a value that is passed around."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sesr_ref.ops import conv, conv_transpose, pointwise, rearrange
from sesr_ref.ops.arrays import Array


@dataclass(frozen=True)
class Ops:
    """The operations that have more than one implementation, and what a whole network may use.

    `network`, where given, runs a whole collapsed network at once: ``network(net, params, x)``.
    It answers None for what it cannot take (a dtype, a kind of layer); the operations then do.
    `margin` is what makes tiles exact then, ``margin(net)`` -> (pixels that a tile needs beyond its
    own on each side, multiple of pixels at which it begins).
    `gradients` does so for a training step: ``gradients(net, params, x, target, epsilon)`` ->
    (loss, dict), the loss being the mean of ``sqrt(error**2 + epsilon**2)``.
    """

    name: str
    conv2d: Callable[..., Array] = conv.conv2d
    conv2d_vjp: Callable[..., tuple[Array, Array, Array | None]] = conv.conv2d_vjp
    conv_transpose2d: Callable[..., Array] = conv_transpose.conv_transpose2d
    conv_transpose2d_vjp: Callable[..., tuple[Array, Array, Array | None]] = (
        conv_transpose.conv_transpose2d_vjp
    )
    prelu: Callable[..., Array] = pointwise.prelu
    prelu_vjp: Callable[..., tuple[Array, Array]] = pointwise.prelu_vjp
    relu: Callable[..., Array] = pointwise.relu
    relu_vjp: Callable[..., Array] = pointwise.relu_vjp
    depth_to_space: Callable[..., Array] = rearrange.depth_to_space
    depth_to_space_vjp: Callable[..., Array] = rearrange.depth_to_space_vjp
    network: Callable[..., Array | None] | None = None
    margin: Callable[..., tuple[int, int] | None] | None = None
    gradients: Callable[..., tuple[float, dict[str, Array]] | None] | None = None
    set_threads: Callable[[int], None] | None = None
    cache_folder: Callable[[], Path] | None = None


REFERENCE = Ops("reference")
"""NumPy alone: the oracle."""


def fast(winograd: bool | None = None, threads: int | None = None) -> Ops:
    """Numba's kernels (extra ``fast``); compiled when first used and cached on disk.

    Parameters
    ----------
    winograd : bool, optional
        Whether 3 x 3 convolutions use Winograd's algorithm; None takes what is faster.
    threads : int, optional
        How many to use, which changes no bit of any result; None takes the processors of this
        process, at most ``NUMBA_NUM_THREADS`` (or ``OMP_NUM_THREADS``) where that is set.

    Returns
    -------
    Ops

    Raises
    ------
    ImportError
        When Numba is not installed, with the extra's name.
    """
    try:
        import numba  # noqa: F401
    except ImportError as error:
        raise ImportError("the fast kernels need Numba: pip install 'sesr-ref[fast]'") from error
    import sesr_kernels

    kernels: dict[str, Any] = sesr_kernels.kernels(winograd, threads)
    for name, kernel in kernels.items():
        if (reference := getattr(REFERENCE, name)) is not None:
            kernels[name] = _either(kernel, reference)
    return replace(REFERENCE, name="fast", **kernels)


def _either(kernel: Callable[..., Any], reference: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel's answer, or the reference's where that is None."""

    def operation(*args: Any, **kwargs: Any) -> Any:
        result = kernel(*args, **kwargs)
        return reference(*args, **kwargs) if result is None else result

    return operation
