"""Which function reads and which writes a file, by the end of its name, else by its content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sesr_ref import params as npz
from sesr_ref.arrays_file import Archive, open_npz
from sesr_ref.exchange.kinds import NPZ, OLD_TORCH, SAFETENSORS, TORCH, kind_of
from sesr_ref.exchange.layouts import Stored
from sesr_ref.exchange.onnx.read import from_onnx
from sesr_ref.exchange.safetensors import load_safetensors, save_safetensors
from sesr_ref.exchange.state import MAX_ARRAYS, from_state
from sesr_ref.exchange.torch.state_dict import load_state_dict, save_state_dict
from sesr_ref.files import check_regular
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params

Architecture = str | Network | None
Loader = Callable[[Path, Architecture], tuple[Network, Params]]
MAX_BYTES = 1 << 30
"""Of all arrays of an .npz that is not our own."""


def load_npz(path: Path, architecture: Architecture = None) -> tuple[Network, Params]:
    """Read an .npz of ours, or one that holds a state dict.

    Parameters
    ----------
    path : Path
        What `sesr_ref.save` or numpy.savez wrote.
    architecture : str or Network, optional
        Which network a state dict's parameters are of, where their names do not say.

    Returns
    -------
    net, params

    Raises
    ------
    ValueError
        If the file is damaged or another kind's, or holds pickles or parameters that fit no
        network.
    """
    kind = kind_of(path)
    if kind not in (NPZ, None):
        raise ValueError(f"{path}: not an .npz file but {kind}")
    try:
        with open_npz(path) as archive:
            own = not {npz.DESCRIPTION, npz.CHECKPOINT_META}.isdisjoint(archive.names)
            arrays = {} if own else _arrays(archive)
        if not own:
            return from_state(arrays, None, architecture)
        if architecture is not None:
            raise ValueError("says itself which network it is: leave out --as")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return npz.load(path)


def _arrays(archive: Archive) -> dict[str, Stored]:
    names, left = archive.names, MAX_BYTES
    if len(names) > MAX_ARRAYS:
        raise ValueError(f"{len(names)} arrays, more than {MAX_ARRAYS}")
    arrays = {}
    for name in names:
        arrays[name] = archive.read(name, limit=left)
        left -= arrays[name].nbytes
    return arrays


def _load_onnx(path: Path, architecture: Architecture) -> tuple[Network, Params]:
    if architecture is not None:
        raise ValueError(f"{path}: ONNX says itself which network it is: leave out --as")
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
        Which output of an ONNX graph is the enlarged image, where it has several.
    architecture : str or Network, optional
        Which network a state dict's parameters are of, where their names do not say: a name that
        `sesr_ref.architecture` takes, or a description.

    Returns
    -------
    net : Network
        With linear blocks where the file has them uncollapsed.
    params : dict of float32 or float64 arrays
        Keyed ``layer.parameter``.

    Raises
    ------
    FileNotFoundError
        If there is neither such a name nor such a file.
    ValueError
        If the file is damaged, unsafe or not understood; in one line, with its path.
    ImportError
        When a package that the format needs is missing, with the extra's name.
    """
    path = Path(name)
    if not path.is_file():
        if path.exists() and not path.is_dir():
            check_regular(path)
        if output is not None or architecture is not None:
            raise ValueError(f"{name}: --output and --as are for files of other programs")
        return npz.load(name)  # which knows the shipped names, and says so
    suffix = next((end for end in LOADERS if path.name.lower().endswith(end)), "")
    if output is not None:
        if suffix != ".onnx" or architecture is not None:
            raise ValueError(f"{path}: --output is for ONNX, without --as")
        return from_onnx(path, output=output)
    return _loader(path, suffix)(path, architecture)


def _loader(path: Path, suffix: str) -> Loader:
    """How a file is read; ValueError for a kind that is not."""
    if suffix:
        return LOADERS[suffix]
    kind = kind_of(path)
    if path.suffix.lower() == ".json":
        raise ValueError(f"{path}: a description has no weights (they are in {', '.join(LOADERS)})")
    if kind is None or kind.key not in BY_CONTENT:
        what = kind or "of a kind that is not known"
        raise ValueError(f"{path} is {what} (models are read from {', '.join(LOADERS)})")
    return BY_CONTENT[kind.key]
