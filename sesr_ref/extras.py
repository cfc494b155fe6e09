"""Optional packages: `need` imports one where it is used, or says which extra installs it."""

from __future__ import annotations

import importlib
from typing import Any


def need(package: str, extra: str, purpose: str) -> Any:
    """Import an optional package.

    Parameters
    ----------
    package : str
        The module to import, such as ``"onnx"``.
    extra : str
        The extra that installs it.
    purpose : str
        Subject of the error message, in the plural: "ONNX files".

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If it is not installed or cannot be loaded, with the command that installs the extra.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        command = f"pip install 'sesr-ref[{extra}]'"
        raise ImportError(f"{purpose} need {name}: {command} ({error})") from error
