"""One self-contained C99 file of a network: rows in, rows out, nothing allocated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sesr_ref import network as nw
from sesr_ref.checks import check_params, layer_params
from sesr_ref.collapse import collapsed
from sesr_ref.exchange.c.document import document
from sesr_ref.exchange.c.draft import Draft
from sesr_ref.exchange.c.floats import Floats
from sesr_ref.exchange.c.header import check_sizes, declarations
from sesr_ref.exchange.c.integer_rules import RULES as INTEGER_RULES
from sesr_ref.exchange.c.integers import Integers
from sesr_ref.exchange.c.plan import plan
from sesr_ref.exchange.c.rules import RULES
from sesr_ref.exchange.c.site import Numbers, Rule, Sheet, Site
from sesr_ref.exchange.c.text import check_prefix
from sesr_ref.exchange.rounding import collapsed_exactly, rounded
from sesr_ref.files import atomic_write, check_free
from sesr_ref.integers.grid import Quantization
from sesr_ref.integers.parameters import check_integer_params
from sesr_ref.limits import MAX_NPU_SIDE, check, whole_number
from sesr_ref.ops.arrays import Params

MAX_WIDTH = 1920
"""Columns of full HD."""


def to_c(
    path: str | Path,
    net: nw.Network,
    params: Params,
    q: Quantization | None = None,
    arithmetic: str = "tflite",
    prefix: str = "sesr",
    max_width: int = MAX_WIDTH,
    main: bool = False,
    header: bool = False,
    overwrite: bool = True,
) -> None:
    """Write a network as one self-contained C99 file.

    Parameters
    ----------
    path : path
        Of the file.
    net : Network
        With linear blocks, which are collapsed, or without.
    params : dict of arrays
        Floats, which are rounded once to float32; or with `q`, integers from `quantize`.
    q : Quantization, optional
        The grids of an integer network.
    arithmetic : str
        How integers are rounded, a key of `ARITHMETICS`.
    prefix : str
        With which every name begins.
    max_width : int
        Default of the macro that says how wide images may be, in pixels.
    main : bool
        Whether the file is a program, too, which enlarges a PGM or PPM.
    header : bool
        Whether to write the declarations as well, to the same name with ``.h``.
    overwrite : bool
        Whether existing files are replaced.

    Raises
    ------
    ValueError
        For parameters that do not fit, a bad prefix or width, or integers that are not defined
        exactly or need more than 64 bits.
    FileExistsError
        If a file exists and `overwrite` is false.
    """
    draft = drafted(net, params, q, arithmetic, prefix, max_width)
    write_draft(Path(path), draft, main, header, overwrite)


def write_draft(path: Path, draft: Draft, main: bool, header: bool, overwrite: bool) -> None:
    """Write what `drafted` made; arguments and errors as in `to_c`."""
    files = {path: document(draft, main)}
    if header:
        check(path.suffix != ".h", "the file's name, beside a header", "without .h", path.name)
        files[path.with_suffix(".h")] = draft.named(declarations(draft))
    for file in files:
        check_free(file, overwrite)
    for file, content in files.items():
        with atomic_write(file, overwrite) as stream:
            stream.write(content.encode("ascii"))


def drafted(
    net: nw.Network,
    params: Params,
    q: Quantization | None = None,
    arithmetic: str = "tflite",
    prefix: str = "sesr",
    max_width: int = MAX_WIDTH,
) -> Draft:
    """Make the parts of the file; arguments and errors as in `to_c`."""
    check_prefix(prefix)
    whole_number("max_width", max_width, high=MAX_NPU_SIDE)
    if q is None:
        check_params(net, params)
        small, exact = collapsed_exactly(net, params)
        values = {name: rounded(name, array, "float32") for name, array in exact.items()}
        draft = _draft(small, values, Floats(), RULES, prefix, max_width)
    else:
        small = collapsed(net)
        check_integer_params(small, params, q)
        numbers = Integers(q, arithmetic)
        draft = _draft(small, params, numbers, INTEGER_RULES, prefix, max_width)
    check_sizes(draft)
    return draft


def _draft(
    net: nw.Network,
    params: dict[str, Any],
    numbers: Numbers,
    rules: nw.Rules[Rule],
    prefix: str,
    max_width: int,
) -> Draft:
    made = plan(net, {name: numbers.type_of(name) for name in net.shapes(16, 24)})
    sheet, bodies = Sheet(), {}
    for layer, inputs in made.steps:
        owner = layer.shares or layer.name
        site = Site(
            layer,
            made.tensors[layer.name],
            tuple(made.tensors[name] for name in inputs),
            numbers.params(layer, layer_params(layer, params)),
            made.ids[owner],
            sheet,
            numbers,
        )
        bodies[layer.name] = rules[type(layer)](site)
    return Draft(made, numbers, sheet, bodies, prefix, max_width)
