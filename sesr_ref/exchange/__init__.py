"""Other people's models in and ours out: ONNX, safetensors, PyTorch state dicts.

Nothing here executes what a file says; every file is checked before memory is taken for it.
"""

from sesr_ref.exchange.blocks import find_linear_blocks
from sesr_ref.exchange.formats import load_any
from sesr_ref.exchange.onnx.read import from_onnx
from sesr_ref.exchange.onnx.write import to_onnx
from sesr_ref.exchange.safetensors import load_safetensors, save_safetensors
from sesr_ref.exchange.torch.state_dict import load_state_dict, save_state_dict

__all__ = [
    "find_linear_blocks",
    "from_onnx",
    "load_any",
    "load_safetensors",
    "load_state_dict",
    "save_safetensors",
    "save_state_dict",
    "to_onnx",
]
