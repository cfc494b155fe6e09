"""Which function reads and which writes a file, by the end of its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sesr_ref import params as npz
from sesr_ref.exchange.onnx.read import from_onnx
from sesr_ref.exchange.safetensors import load_safetensors, save_safetensors
from sesr_ref.exchange.torch.state_dict import load_state_dict, save_state_dict
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params

LOADERS: dict[str, Callable[[Path], tuple[Network, Params]]] = {
    ".npz": npz.load,
    ".onnx": from_onnx,
    ".safetensors": load_safetensors,
    ".pth": load_state_dict,
    ".pt": load_state_dict,
}
"""How files are read, by the end of their names."""
SAVERS: dict[str, Callable[[Path, Network, Params, str, bool], None]] = {
    ".npz": lambda path, net, params, dialect, overwrite: npz.save(path, net, params, overwrite),
    ".safetensors": save_safetensors,
    ".pth": save_state_dict,
    ".pt": save_state_dict,
}
"""How files of parameters are written, by the end of their names."""


def load_any(name: str | Path) -> tuple[Network, Params]:
    """Load a network and its parameters from any format.

    Parameters
    ----------
    name : str or path
        A shipped name, or a file that ends in .npz, .onnx, .safetensors, .pth or .pt.

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
    suffix = path.suffix.lower()
    if suffix == ".json" and path.is_file():
        raise ValueError(f"{path}: a description has no weights (they are in {', '.join(LOADERS)})")
    if suffix not in LOADERS or not path.is_file():
        return npz.load(name)  # which knows the shipped names, and says so
    return LOADERS[suffix](path)
