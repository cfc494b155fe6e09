"""Import paths of version 0.1: they work until version 0.3, with a warning.

`MODULES` lists the modules that have moved, `NAMES` the names that have moved out of a module that
still exists.  Other paths are not slowed down, since this finder is tried last.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

REMOVED_IN = "0.3"


def _inside(package: str, **moved: str) -> dict[str, str]:
    """Modules of `package` by their old names, with their new names in the package."""
    return {f"sesr_ref.{package}.{old}": f"sesr_ref.{package}.{new}" for old, new in moved.items()}


MODULES: dict[str, str] = {
    "sesr_ref.checkpoint": "sesr_ref.train.checkpoint",
    "sesr_ref.data": "sesr_ref.train.data",
    "sesr_ref.evaluate.windows": "sesr_ref.tiles",
    "sesr_ref.metrics": "sesr_ref.evaluate.metrics",
    "sesr_ref.optimiser": "sesr_ref.train.optimiser",
    "sesr_ref.peer_architectures": "sesr_ref.architectures",
    "sesr_ref.training_run": "sesr_ref.train.run",
    "sesr_ref.verify.npy": "sesr_ref.arrays_file",
    "sesr_ref.verify.windows": "sesr_ref.tiles",
    "sesr_ref.warm_start": "sesr_ref.train.warm_start",
    **_inside(
        "exchange",
        axes="onnx.axes",
        onnx_arithmetic="onnx.arithmetic",
        onnx_bicubic="onnx.bicubic",
        onnx_conv="onnx.conv",
        onnx_file="onnx.file",
        onnx_fold="onnx.fold",
        onnx_graph="onnx.graph",
        onnx_in="onnx.read",
        onnx_out="onnx.write",
        onnx_out_rules="onnx.layers",
        onnx_resize="onnx.resize",
        onnx_rules="onnx.operators",
        onnx_writer="onnx.writer",
        outline="dialects",
        torch_pickle="torch.pickle",
        torch_state="torch.state_dict",
    ),
    **_inside(
        "verify",
        arithmetic="bounds.arithmetic",
        candidates="comparison.candidates",
        diagnose="comparison.diagnose",
        encodings="golden.encodings",
        estimates="comparison.estimates",
        exact="golden.exact",
        faults="comparison.faults",
        faulty_convolutions="comparison.faulty_convolutions",
        inputs="comparison.inputs",
        manifest="golden.manifest",
        matching="golden.match",
        model="bounds.model",
        notes="comparison.notes",
        pack="golden.read",
        pack_folder="golden.folder",
        rounded_run="golden.rounded_run",
        rules="bounds.rules",
        tally="comparison.tally",
        winograd="bounds.winograd",
    ),
}
"""Old module: the new one, with all its names."""

NAMES: dict[str, dict[str, str]] = {
    "sesr_ref.architectures": {
        "ACTIVATIONS": "sesr_ref.architectures.options",
        "BLOCK_BIASES": "sesr_ref.architectures.sesr",
    },
    "sesr_ref.execute": dict.fromkeys(
        ("check_input", "check_network", "check_params"), "sesr_ref.checks"
    ),
    "sesr_ref.images.files": dict.fromkeys(
        ("DTYPES", "MAX_SIDE", "OPAQUE_ONLY", "SUFFIXES", "optional", "stored_dtype"),
        "sesr_ref.images.formats",
    ),
    "sesr_ref.train": {"SOME_FUNCTION": "sesr_ref.train.loop"},
    "sesr_ref.verify.bounds": dict.fromkeys(
        ("KINDS", "SIGMAS", "Tensor", "error_bounds"), "sesr_ref.verify.bounds.walk"
    ),
    "sesr_ref.verify.comparison": dict.fromkeys(
        ("MOST_NAMED", "TILE", "Comparison"), "sesr_ref.verify.comparison.compare"
    ),
    "sesr_ref.verify.golden": dict.fromkeys(
        ("FILES", "LAYOUTS", "MAX_TEXT_VALUES", "SAFE_NAME", "expected_bytes", "write_pack"),
        "sesr_ref.verify.golden.write",
    ),
}
"""Module that still exists: names that moved out of it, and the module of each."""


class MovedFinder:
    """The last finder of `sys.meta_path`: an old path gives the new module."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Specify a module of `MODULES`; None for any other."""
        return ModuleSpec(name, self) if name in MODULES else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Let Python create a module, which `exec_module` replaces at once."""

    def exec_module(self, module: ModuleType) -> None:
        """Register the new module under the old name too."""
        old = module.__name__
        _warn(old, MODULES[old])
        sys.modules[old] = importlib.import_module(MODULES[old])


def install() -> None:
    """Try `MovedFinder` when all other finders have failed; a second call changes nothing."""
    if not any(type(finder).__name__ == MovedFinder.__name__ for finder in sys.meta_path):
        sys.meta_path.append(MovedFinder())


def names_moved(module: str) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module in `NAMES`.

    Parameters
    ----------
    module : str
        Name of the module.

    Returns
    -------
    function
        Returns a name that moved out of the module, with a warning; AttributeError for any other.
    """

    def get(name: str) -> Any:
        if (now := NAMES[module].get(name)) is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _warn(f"{module}.{name}", f"{now}.{name}")
        return getattr(importlib.import_module(now), name)

    return get


def _warn(old: str, new: str) -> None:
    """Warn at the user's line: two frames up, without Python's own import frames."""
    warnings.warn(
        f"{old} has moved to {new}; version {REMOVED_IN} removes the old path",
        DeprecationWarning,
        stacklevel=3,
    )
