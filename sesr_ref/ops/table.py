"""The choice of an implementation, as a value that is passed around."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sesr_ref.extras import need
from sesr_ref.ops import conv, conv_transpose, pointwise, rearrange
from sesr_ref.ops.arrays import Array


@dataclass(frozen=True)
class Ops:
    """The operations that have more than one implementation, and what a whole network may use.

    `network`, where given, runs a whole collapsed network at once: ``network(net, params, x)``.
    It answers None for what it cannot take (a dtype, a kind of layer); the operations then do.
    `margin` is what makes tiles exact then, ``margin(net)`` -> (pixels that a tile needs beyond its
    own on each side, multiple of pixels at which it begins).
    `gradients` does so for a training step: ``gradients(net, params, x, target, terms)`` ->
    (loss, dict), the loss being the sum that `losses.Terms` states.
    `adam` changes as many weights as it can, with the bits of `optimiser.Adam`, and says how many.
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
    adam: Callable[..., int] | None = None
    set_threads: Callable[[int], None] | None = None
    cache_folder: Callable[[], Path] | None = None


REFERENCE = Ops("reference")
"""NumPy alone: the oracle."""


def fast(winograd: bool | None = None, threads: int | None = None) -> Ops:
    """Numba's kernels (extra ``fast``); compiled when first used and cached on disk.

    Parameters
    ----------
    winograd : bool, optional
        Whether 3 x 3 and 5 x 5 convolutions use Winograd's algorithm; None takes what is faster.
    threads : int, optional
        How many to use, which changes no bit of any result; None takes the processors of this
        process, at most ``NUMBA_NUM_THREADS`` (or ``OMP_NUM_THREADS``) where that is set.

    Returns
    -------
    Ops

    Raises
    ------
    ImportError
        When Numba is not installed, with the extra's name, or NUMBA_DISABLE_JIT turns it off.
    ValueError
        If `threads` is no integer from 1 on, or `winograd` none of its three values.

    Notes
    -----
    *Same bits*, run after run on one machine: for any number of threads, batch, tiles, bands and
    layout of the images; alone or beside other calls; in a child process.  Each output's sum has
    one order, written down in the kernels, and no fast-math flag lets the compiler change it.
    Linear blocks are collapsed by NumPy ahead of that, once, with the bits of its BLAS.

    *Not the same bits*, but within float32's rounding: with and without `winograd`; beside
    `REFERENCE`, whose sums are a BLAS's; on another instruction set, since AVX2, AVX-512 and NEON
    multiply and add with one rounding and SSE2 and scalar code with two; a training step of
    another image size, batch or instruction set, since a gradient's partial sums are a vector's
    lanes and those of some images.

    *What is not taken*: float64 runs on NumPy.  A network with a convolution beyond 31 x 31 runs
    layer by layer, and so does the training of one with groups, `Concat`, `Resize`, convolutions
    other than 1, 3 and 5 wide, or more than activations behind an enlargement: convolutions up to
    31 x 31 by the kernels, the other layers by NumPy.

    *Processes and threads*: each call starts plain Python threads and joins them; compiled code
    runs without the interpreter's lock.  Numba's threading layers (TBB, OpenMP, workqueue) are not
    used, so nothing is there that hangs after a fork or refuses nested or concurrent calls: fork,
    spawn and calls from several threads all work.
    """
    if winograd not in (None, True, False):
        raise ValueError(f"winograd must be True, False or None, got {winograd!r:.200}")
    numba = need("numba", "fast", "the fast kernels")
    if getattr(numba.config, "DISABLE_JIT", False):
        raise ImportError(
            "the fast kernels need Numba's compiler, which NUMBA_DISABLE_JIT turns off: "
            "unset it or use REFERENCE"
        )
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
