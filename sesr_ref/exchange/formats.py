"""Which function reads and which writes a file, by the end of its name, else by its content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sesr_ref import params as npz
from sesr_ref.arrays_file import Archive, open_npz
from sesr_ref.exchange.kinds import (
    NPZ,
    OLD_TORCH,
    ONNX,
    SAFETENSORS,
    TORCH,
    check_kind,
    kind_of,
)
from sesr_ref.exchange.layouts import Stored
from sesr_ref.exchange.onnx.read import from_onnx
from sesr_ref.exchange.safetensors import load_safetensors, save_safetensors
from sesr_ref.exchange.state import from_state
from sesr_ref.exchange.torch.state_dict import load_state_dict, save_state_dict
from sesr_ref.exchange.values import check_count, check_unnamed
from sesr_ref.files import check_regular
from sesr_ref.limits import check, naming
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params

Architecture = str | Network | None
Loader = Callable[[Path, Architecture], tuple[Network, Params]]
MAX_BYTES = 1 << 30
"""Largest sum of the arrays of an .npz that is not our own."""


def load_npz(path: Path, architecture: Architecture = None) -> tuple[Network, Params]:
    """Read an .npz of ours, or one that holds a state dict.

    Parameters
    ----------
    path : Path
        What `sesr_ref.save` or numpy.savez wrote.
    architecture : str or Network, optional
        The network of a state dict whose names do not tell it.

    Returns
    -------
    net, params

    Raises
    ------
    ValueError
        If the file is damaged, of another kind, or contains pickles or parameters that fit no
        network.
    """
    with naming(path):
        check_kind(path, NPZ)
        with open_npz(path) as archive:
            own = not {npz.DESCRIPTION, npz.CHECKPOINT_META}.isdisjoint(archive.names)
            arrays = {} if own else _arrays(archive)
        if not own:
            return from_state(arrays, None, architecture)
        check_unnamed(architecture)
    return npz.load(path)


def _arrays(archive: Archive) -> dict[str, Stored]:
    check_count(archive.names)
    arrays, left = {}, MAX_BYTES
    for name in archive.names:
        arrays[name] = archive.read(name, limit=left)
        left -= arrays[name].nbytes
    return arrays


def _load_onnx(path: Path, architecture: Architecture) -> tuple[Network, Params]:
    with naming(path):
        check_unnamed(architecture)
    return from_onnx(path)


LOADERS: dict[str, Loader] = {
    ".npz": load_npz,
    ".onnx": _load_onnx,
    ".safetensors": load_safetensors,
    ".pth": load_state_dict,
    ".pt": load_state_dict,
    ".ckpt": load_state_dict,
    ".pth.tar": load_state_dict,
}
"""How files are read, by the end of their names."""
BY_CONTENT: dict[str, Loader] = {
    NPZ.key: load_npz,
    ONNX.key: _load_onnx,
    SAFETENSORS.key: load_safetensors,
    TORCH.key: load_state_dict,
    OLD_TORCH.key: load_state_dict,
}
"""How files with other names are read."""
SAVERS: dict[str, Callable[[Path, Network, Params, str, bool], None]] = {
    ".npz": lambda path, net, params, dialect, overwrite: npz.save(path, net, params, overwrite),
    ".safetensors": save_safetensors,
    ".pth": save_state_dict,
    ".pt": save_state_dict,
}
"""How files of parameters are written, by the end of their names."""


def load_any(
    name: str | Path, *, output: str | None = None, architecture: Architecture = None
) -> tuple[Network, Params]:
    """Load a network and its parameters from any format.

    Parameters
    ----------
    name : str or path
        A shipped name, or a file: .npz, .onnx, .safetensors, or what torch.save wrote.
    output : str, optional
        The output of an ONNX graph that is the enlarged image, if the graph has several.
    architecture : str or Network, optional
        The network of a state dict whose names do not tell it: a name that
        `sesr_ref.architecture` takes, or a description.

    Returns
    -------
    net : Network
        With linear blocks if the file has them uncollapsed.
    params : dict of float32 or float64 arrays
        Keyed ``layer.parameter``.

    Raises
    ------
    FileNotFoundError
        If there is neither such a name nor such a file, or it is a link to a missing one.
    ValueError
        If the file is damaged, unsafe or not supported; in one line, with its path.
    ImportError
        When a package that the format needs is missing, with the extra's name.
    """
    path = Path(name)
    if not path.is_file():
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            check_regular(path)
        stated = [option for option in (output, architecture) if option is not None]
        check(not stated, "a model with --output or --as", "a file of another program", str(name))
        return npz.load(name)  # which knows the shipped names, and says so
    suffix = next((end for end in LOADERS if path.name.lower().endswith(end)), "")
    load = LOADERS[suffix] if suffix else _by_content(path)
    if output is None:
        return load(path, architecture)
    with naming(path):
        check(load is _load_onnx, "a model with --output", "an ONNX model", path.name)
        check_unnamed(architecture)
    return from_onnx(path, output=output)


def _by_content(path: Path) -> Loader:
    """Return the reader of a file whose name does not tell its format; ValueError if none does."""
    kind = kind_of(path)
    if kind is not None and kind.key in BY_CONTENT:
        return BY_CONTENT[kind.key]
    if path.suffix.lower() == ".json":
        raise ValueError(f"{path}: a description has no weights (they are in {', '.join(LOADERS)})")
    what = kind or "in an unknown format"
    raise ValueError(f"{path} is {what} (supported: {', '.join(LOADERS)})")
