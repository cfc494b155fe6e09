"""Files of quantised networks: an .npz without pickles that describes itself.

It holds one integer array for each parameter, the collapsed network as ``network.json`` and its
grids as ``quantization.json`` (UTF-8 bytes).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref import network as nw
from sesr_ref.arrays_file import Archive, open_npz
from sesr_ref.checks import check_names, check_primitive
from sesr_ref.collapse import collapsed
from sesr_ref.files import atomic_write
from sesr_ref.integers.grid import Quantization
from sesr_ref.integers.parameters import (
    IntegerParams,
    check_integer_params,
    check_quantization,
)
from sesr_ref.limits import check, naming
from sesr_ref.params import (
    DESCRIPTION,
    GRIDS,
    MAX_DESCRIPTION_BYTES,
    checked_shapes,
    file_of_model,
)


def save_quantized(
    path: str | Path,
    net: nw.Network,
    iparams: IntegerParams,
    q: Quantization,
    overwrite: bool = True,
) -> None:
    """Write a quantised network to an .npz; `load_quantized` reads it back.

    Parameters
    ----------
    path : path
        File to write; its folder must exist.  Written under a temporary name, then renamed.
    net : Network
        With linear blocks, which count as collapsed, or without.
    iparams : dict of integer arrays
        From `quantize`.
    q : Quantization
        Its grids.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    ValueError
        If parameters or grids do not fit the network.
    FileExistsError
        If the file exists and `overwrite` is false.
    """
    small = collapsed(net)
    check_primitive(small)
    check_integer_params(small, iparams, q)
    arrays: dict[str, npt.NDArray[Any]] = {DESCRIPTION: _text(small.to_json())}
    arrays[GRIDS] = _text(q.to_json())
    for name in small.param_shapes():
        arrays[name] = iparams[name].astype(q.params[name].dtype())
    with atomic_write(Path(path), overwrite) as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # for its allow_pickle


def load_quantized(name: str | Path) -> tuple[nw.Network, IntegerParams, Quantization]:
    """Read a quantised network.

    Parameters
    ----------
    name : str or path
        A shipped name, such as ``"sesr-m5-x2-int8"``, or a path to an .npz that `save_quantized`
        or ``sesr-ref quantize`` wrote.

    Returns
    -------
    net : Network
        Collapsed.
    iparams : dict of integer arrays
        Keyed ``layer.parameter``, each of the narrowest dtype that its grid fits.
    q : Quantization
        Grids of all tensors and parameters.

    Raises
    ------
    FileNotFoundError
        If `name` is neither a shipped name nor a file; lists the shipped names.
    IsADirectoryError
        If it is a folder.
    ValueError
        If the file does not hold a quantised network, or is damaged: grids that do not fit the
        network, integers beyond their grid, pickles.
    """
    path = file_of_model(name)
    with naming(path, (ValueError, KeyError)), open_npz(path) as archive:
        if not is_quantized(archive):
            raise ValueError(f"no {GRIDS} inside: these are no integers (sesr-ref quantize)")
        return _read(archive)


def is_quantized(archive: Archive) -> bool:
    """Whether an open .npz holds a network's grids."""
    return GRIDS in archive.names


def holds_integers(name: str | Path) -> bool:
    """Whether a shipped name or an existing .npz is a network in integers."""
    path = file_of_model(name)
    with naming(path, (ValueError, KeyError)), open_npz(path) as archive:
        return is_quantized(archive)


def _read(archive: Archive) -> tuple[nw.Network, IntegerParams, Quantization]:
    with naming(DESCRIPTION):
        net = nw.Network.from_json(_read_text(archive, DESCRIPTION))
        check(collapsed(net) == net, "the network", "collapsed", net.name)
        check_primitive(net)
        shapes = checked_shapes(net)
    with naming(GRIDS):
        q = Quantization.from_json(_read_text(archive, GRIDS))
        check_quantization(net, q)
    check_names("parameter", set(archive.names) - {DESCRIPTION, GRIDS}, shapes)
    dtypes = {key: (str(q.params[key].dtype()),) for key in shapes}
    iparams = {key: archive.read(key, shape, dtypes[key]) for key, shape in shapes.items()}
    check_integer_params(net, iparams, q)
    return net, iparams, q


def _text(text: str) -> npt.NDArray[np.uint8]:
    return np.frombuffer(text.encode(), np.uint8)


def _read_text(archive: Archive, key: str) -> str:
    data = archive.read(key, dtypes=("uint8",), limit=MAX_DESCRIPTION_BYTES)
    return str(data.tobytes().decode())
