"""Packages that an installation may lack: imported where they are used, through one door."""

from __future__ import annotations

import importlib
from typing import Any


def need(package: str, extra: str, purpose: str) -> Any:
    """Import a package of one of the extras.

    Parameters
    ----------
    package : str
        What to import, such as ``"onnx"``.
    extra : str
        The extra that installs it.
    purpose : str
        What needs it, for the error: "ONNX files".

    Returns
    -------
    module

    Raises
    ------
    ImportError
        When it is not installed or cannot be loaded, with the command that installs the extra.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        command = f"pip install 'sesr-ref[{extra}]'"
        raise ImportError(f"{purpose} need {name}: {command} ({error})") from error
