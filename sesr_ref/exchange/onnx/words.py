"""How errors about ONNX files name a node, and what an error of onnx says in one line."""

from __future__ import annotations

from typing import Any


def place_of(index: int, node: Any) -> str:
    """How errors name a node: its position, operator and name."""
    name = node.name or (node.output[0] if node.output else "")
    return f"node {index} ({node.op_type} {name!r:.200})"


def first_line(error: Exception) -> str:
    """What an error says first, for messages of one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
