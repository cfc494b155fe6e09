"""Models in integers as MODEL arguments, and the option for their arithmetic."""

from __future__ import annotations

import argparse
from pathlib import Path

from sesr_ref.commands.models import PLAIN, Foreign, check_upscale, engine_named, load_model
from sesr_ref.evaluate import IntegerModel, Model, RealModel
from sesr_ref.exchange.tflite import from_tflite
from sesr_ref.integers import ARITHMETICS, Quantization, load_quantized
from sesr_ref.integers.file import holds_integers
from sesr_ref.integers.parameters import IntegerParams
from sesr_ref.limits import check
from sesr_ref.network import Network
from sesr_ref.shipped import INT8

DEFAULT_ARITHMETIC = "tflite"


def add_arithmetic_option(parser: argparse._ActionsContainer) -> None:
    """``--arithmetic``, for models in integers."""
    parser.add_argument(
        "--arithmetic",
        choices=list(ARITHMETICS),
        help="whose rounding a model in integers is run with "
        f"(default {DEFAULT_ARITHMETIC}: LiteRT's reference kernels, TFLite Micro)",
    )


def load_runnable(
    name: str | None,
    upscale: int | None,
    engine: str,
    arithmetic: str | None = None,
    other: Foreign = PLAIN,
) -> Model:
    """Load the model that ``-n``, ``-s``, ``--engine`` and ``--arithmetic`` select, ready to run.

    Parameters
    ----------
    name : str, optional
        As for `load_model`, or a model in integers: a shipped name such as sesr-m5-x2-int8, an
        .npz of ``sesr-ref quantize``, or a .tflite.
    upscale : int, optional
        The enlargement that the network must have.
    engine : str
        As for `engine_named`.
    arithmetic : str, optional
        A key of `ARITHMETICS`, for a model in integers only.
    other : Foreign
        How another program's file is read.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        As `load_model` does, or if an arithmetic is given for a model in floating point.
    """
    if name is None or not is_integer_model(name):
        check(arithmetic is None, "the model for --arithmetic", "one in integers", name)
        net, params = load_model(name, upscale, other=other)
        return RealModel.of(net, params, engine_named(engine))
    net, iparams, q = load_integers(name)
    check_upscale(name, net, upscale)
    return IntegerModel(net, iparams, q, arithmetic or DEFAULT_ARITHMETIC, engine_named(engine))


def is_integer_model(name: str) -> bool:
    """Whether MODEL is in integers: a .tflite, or an .npz of them by a shipped name or its path."""
    path = Path(name)
    if path.suffix.lower() == ".tflite":
        return True
    if not name.endswith(INT8) and not (path.suffix.lower() == ".npz" and path.is_file()):
        return False
    try:
        return holds_integers(name)
    except ValueError:  # no .npz inside: who reads other models says what it is
        return False


def load_integers(name: str) -> tuple[Network, IntegerParams, Quantization]:
    """Load a model in integers, as `is_integer_model` knows them."""
    return (from_tflite if name.lower().endswith(".tflite") else load_quantized)(name)
