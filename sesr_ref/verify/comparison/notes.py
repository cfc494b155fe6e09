"""Remarks on a verdict: tensors not shown, inputs that hide mistakes, other formats."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array
from sesr_ref.verify.bounds.arithmetic import FORMATS, Format, rounded

ROWS = 64
RANGE = (-1e-6, 1 + 1e-6)
"""Range of inputs without a note: [0, 1] and a rounding error."""
NARROW = ("bfloat16", "float16")
"""Coarsest first: most of bfloat16's numbers are float16's too."""


def unseen_between(net: Network, name: str, shown: Collection[str]) -> tuple[str, ...]:
    """Tensors that are not shown and may have caused the error of a wrong one.

    Parameters
    ----------
    net : Network
        A network of primitives.
    name : str
        Name of the wrong tensor.
    shown : collection of str
        The candidate's tensors; those before `name` are right.

    Returns
    -------
    tuple of str
        In the network's order: all that `name` depends on without a shown tensor in between.
    """
    read, unseen = {name}, []
    for layer, inputs in reversed(list(net.steps())):
        if layer.name in read:
            unseen.append(layer.name)
            read |= {source for source in inputs if source not in shown}
    return tuple(unseen[:0:-1])


def notes_on(x: Array, given: Mapping[str, Array], dtype: str, agrees: bool) -> tuple[str, ...]:
    """Write remarks for the reader of a verdict.

    Parameters
    ----------
    x : (n, height, width, channels) float array
        The input.
    given : mapping of arrays
        The candidate's tensors.
    dtype : str
        The dtype by which they were judged.
    agrees : bool
        The verdict.

    Returns
    -------
    tuple of str
        One line each.
    """
    notes = [*_on_input(x)]
    if not agrees:
        notes += _on_format(given, FORMATS[dtype])
    return tuple(notes)


def _on_input(x: Array) -> Iterator[str]:
    if not x.any():
        yield "the input is 0 everywhere, which hides mistakes in most weights"
    elif (x == x[:, :1, :1]).all():
        yield (
            "the input is constant, which hides flipped, shifted or transposed kernels except at "
            "the borders"
        )
    low, high = float(x.min()), float(x.max())
    if low < RANGE[0] or high > RANGE[1]:
        extreme = low if -low > high - 1 else high
        yield f"the input reaches {extreme:g}; networks expect [0, 1]"


def _on_format(given: Mapping[str, Array], judged: Format) -> Iterator[str]:
    """Note a narrower format if it can represent every value shown."""
    for name in NARROW:
        narrow = FORMATS[name]
        if narrow.precision < judged.precision and _all_in(given, narrow):
            yield f"{name} can represent every value shown: try --dtype {name}"
            return


def _all_in(given: Mapping[str, Array], narrow: Format) -> bool:
    """Whether the values fit, and not only because all are whole numbers, such as bytes."""
    whole = True
    for block in itertools.chain.from_iterable(map(_blocks, given.values())):
        if not np.array_equal(rounded(block, narrow), block):
            return False
        whole = whole and np.array_equal(np.rint(block), block)
    return not whole


def _blocks(array: Array) -> Iterator[Array]:
    """Yield a few rows at a time: the array may be mapped and larger than memory."""
    for image, row in itertools.product(range(len(array)), range(0, array.shape[1], ROWS)):
        yield array[image, row : row + ROWS].astype(np.float64)
