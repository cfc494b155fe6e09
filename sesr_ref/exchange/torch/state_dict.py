"""PyTorch state dicts (.pth) in and out, without torch and without executing pickles."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from sesr_ref.arrays_file import inside_the_file
from sesr_ref.exchange.dialects import DIALECTS
from sesr_ref.exchange.kinds import OLD_TORCH, TORCH, check_kind, kind_of
from sesr_ref.exchange.layouts import Stored
from sesr_ref.exchange.modules import Arrays
from sesr_ref.exchange.state import from_state, to_state
from sesr_ref.exchange.torch.archive import read_archive, read_old
from sesr_ref.exchange.torch.tensors import arrays_of
from sesr_ref.exchange.torch.write import write_archive
from sesr_ref.files import atomic_write
from sesr_ref.limits import naming
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.params import DESCRIPTION

_DAMAGE = (ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.LargeZipFile)
"""What zipfile raises for archives that are damaged or encrypted, and our own errors."""


def load_state_dict(
    path: str | Path, architecture: str | Network | None = None
) -> tuple[Network, Params]:
    """Read a PyTorch state dict as a network.

    Parameters
    ----------
    path : path
        What torch.save or `save_state_dict` wrote: a state dict, or a checkpoint that keeps one
        under a usual key.
    architecture : str or Network, optional
        Which network the parameters are of, where their names do not say, as
        `sesr_ref.architecture` takes it.

    Returns
    -------
    net, params
        As `sesr_ref.exchange.state.from_state`.

    Raises
    ------
    ValueError
        If the file is damaged, holds code (naming the class, function or opcode), or parameters
        that fit no network, or several.
    """
    path = Path(path)
    arrays, description = _read(path)
    if DESCRIPTION in arrays:
        arrays = dict(arrays)
        description = arrays.pop(DESCRIPTION).tobytes()
    with naming(path):  # for a description that is not UTF-8, too
        text = None if description is None else description.decode()
        return from_state(arrays, text, architecture)


def read_state_dict(path: Path) -> Arrays:
    """Read the arrays of a state dict, whatever they are called.

    Parameters
    ----------
    path : Path
        As for `load_state_dict`.

    Returns
    -------
    dict of arrays
        bfloat16 as float32.

    Raises
    ------
    ValueError
        If the file is of another kind, damaged or holds code.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[Arrays, bytes | None]:
    """The arrays, and the network's description where we put it beside them."""
    with naming(path):
        check_kind(path, TORCH, OLD_TORCH)
    read = read_old if kind_of(path) == OLD_TORCH else read_archive
    with path.open("rb") as stream, naming(path, _DAMAGE):
        try:
            with inside_the_file():
                saved = read(stream)
                return arrays_of(saved), saved.description
        except zipfile.BadZipFile as error:
            raise ValueError(f"not a PyTorch file, or truncated ({error})") from None


def save_state_dict(
    path: str | Path,
    net: Network,
    params: Params,
    dialect: str = "sesr-ref",
    overwrite: bool = True,
) -> None:
    """Write a network's parameters as a PyTorch state dict that torch.load reads.

    Parameters
    ----------
    path : path
        Its folder must exist; written under a temporary name, then renamed.
    net : Network
        What the parameters belong to; its description goes along as the bytes ``network.json`` in
        our own names, and in PyTorch's beside the pickle, where torch.load does not look.
    params : dict of arrays
        float16, float32 or float64, kept as they are.
    dialect : str
        A key of `sesr_ref.exchange.dialects.DIALECTS`.
    overwrite : bool
        Whether an existing file is replaced.

    Raises
    ------
    ValueError
        If `params` do not fit `net`, or `net` is not what the dialect describes.
    FileExistsError
        If the file exists and shall not be overwritten.
    """
    arrays: dict[str, Stored] = dict(to_state(net, params, dialect))
    description = net.to_json().encode()
    if dialect == "sesr-ref":
        arrays[DESCRIPTION] = np.frombuffer(description, np.uint8)
    beside = DESCRIPTION not in arrays and DIALECTS[dialect].write is not None
    with atomic_write(Path(path), overwrite) as stream:
        write_archive(stream, arrays, {DESCRIPTION: description} if beside else {})
