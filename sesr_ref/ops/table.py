"""The choice of an implementation, as a value that is passed to functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sesr_ref.extras import need
from sesr_ref.limits import check
from sesr_ref.ops import conv, conv_transpose, pointwise, rearrange
from sesr_ref.ops.arrays import Array


@dataclass(frozen=True)
class Ops:
    """The operations that have more than one implementation, and kernels for whole networks.

    `network`, if given, runs a whole collapsed network at once: ``network(net, params, x)``.  It
    returns None for what it does not support (a dtype, a kind of layer); the single operations then
    run.  `margin` says what makes its tiles exact: ``margin(net)`` -> (pixels that a tile needs
    beyond its own on each side, multiple of pixels at which it starts).
    `gradients` computes a training step: ``gradients(net, params, x, target, terms)`` ->
    (loss, dict), or None; the loss is the sum that `losses.Terms` states.  With the options
    ``batch=`` and ``group=``, processes share a batch, of which each computes its own images:
    ``own_images(batch, rank, size)`` -> (first, behind the last).
    (loss, dict), or None; the loss is the sum that `losses.Terms` states.
    `integers` runs a whole network of integers: ``integers(network, x, outputs)`` -> dict of int8
    arrays, with the bits of `sesr_ref.integers.forward_int`; it raises NotImplementedError, saying
    why, for what it does not support.
    `adam` updates as many weights as it can, with the same bits as `optimiser.Adam`, and returns
    how many.
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
    own_images: Callable[[int, int, int], tuple[int, int]] | None = None
    integers: Callable[..., dict[str, Array]] | None = None
    adam: Callable[..., int] | None = None
    set_threads: Callable[[int], None] | None = None
    cache_folder: Callable[[], Path] | None = None


class KernelsLeftOut(RuntimeWarning):
    """NumPy computes what kernels were asked for, since they do not support it."""


REFERENCE = Ops("reference")
"""NumPy only: the oracle."""


def fast(winograd: bool | None = None, threads: int | None = None) -> Ops:
    """Numba kernels (extra ``fast``), compiled at their first use and cached on disk.

    Parameters
    ----------
    winograd : bool, optional
        Whether 3 x 3 and 5 x 5 convolutions use Winograd's algorithm; None chooses the faster way.
    threads : int, optional
        Number of threads, which changes no bit of any result; None uses the processors of this
        process, at most ``NUMBA_NUM_THREADS`` (or ``OMP_NUM_THREADS``) if that is set.

    Returns
    -------
    Ops

    Raises
    ------
    ImportError
        If Numba is not installed, naming the extra, or if NUMBA_DISABLE_JIT turns it off.
    ValueError
        If `threads` is not a positive integer, or `winograd` not one of its three values.

    Notes
    -----
    *Same bits*, run after run on one machine: for any number of threads, batch size, tiles, bands
    and layout of the images; alone or concurrently with other calls; in a child process.  Each
    output's sum has one order, fixed in the kernels, and no fast-math flag lets the compiler change
    it.  NumPy collapses linear blocks before that, once, with the bits of its BLAS.

    *Different bits*, but within float32's rounding: with and without `winograd`; compared with
    `REFERENCE`, whose sums are a BLAS's; on another instruction set, since AVX2, AVX-512 and NEON
    multiply and add with one rounding but SSE2 and scalar code with two; in a training step with
    another image size, batch or instruction set, since a gradient's partial sums depend on the
    vector's lanes and on groups of images.

    *Integers* have one result in each arithmetic: kernels and `REFERENCE` agree on every bit, on
    any instruction set.  See `sesr_ref.integers.forward_int` for what runs on NumPy all the same.

    *Not supported by the kernels*: float64 runs on NumPy.  A network with a convolution beyond
    31 x 31 runs layer by layer, and so does the training of a network with groups, `Concat`,
    `Resize`, convolutions other than 1, 3 and 5 wide, or other layers than activations after an
    enlargement: convolutions up to 31 x 31 then use the kernels, the other layers NumPy.

    *Processes and threads*: each call starts plain Python threads and joins them; compiled code
    runs without the interpreter's lock.  Numba's threading layers (TBB, OpenMP, workqueue) are not
    used, since they may hang after a fork or reject nested or concurrent calls: fork, spawn and
    calls from several threads all work.
    """
    check(winograd in (None, True, False), "winograd", "True, False or None", winograd)
    numba = need("numba", "fast", "the fast kernels")
    if getattr(numba.config, "DISABLE_JIT", False):
        raise ImportError(
            "the fast kernels need Numba's compiler, but NUMBA_DISABLE_JIT turns it off: "
            "unset it or use REFERENCE"
        )
    import sesr_kernels

    kernels: dict[str, Any] = sesr_kernels.kernels(winograd, threads)
    for name, kernel in kernels.items():
        if (reference := getattr(REFERENCE, name)) is not None:
            kernels[name] = _either(kernel, reference)
    return replace(REFERENCE, name="fast", **kernels)


def _either(kernel: Callable[..., Any], reference: Callable[..., Any]) -> Callable[..., Any]:
    """Return the kernel's result, or the reference's if the kernel returns None."""

    def operation(*args: Any, **kwargs: Any) -> Any:
        result = kernel(*args, **kwargs)
        return reference(*args, **kwargs) if result is None else result

    return operation
