"""The first difference of two networks, in words."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from typing import Any

from sesr_ref import network as nw


def first_difference(net: nw.Network, dialect: nw.Network) -> str | None:
    """The first layer in which a network is not the one that a dialect has, in words.

    Parameters
    ----------
    net, dialect : Network
        Their names, and how their layers' inputs are written, do not matter.

    Returns
    -------
    str or None
        Layer, field and both values; None if they are the same.
    """
    nothing: dict[str, Any] = {}
    pairs = itertools.zip_longest(_outline(net), _outline(dialect), fillvalue=nothing)
    return next((_in_words(ours, theirs) for ours, theirs in pairs if ours != theirs), None)


def _outline(net: nw.Network) -> list[dict[str, Any]]:
    return [
        {"name": layer.name, "kind": type(layer).__name__, **asdict(layer), "inputs": inputs}
        for layer, inputs in net.steps()
    ]


def _in_words(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """The first difference of two descriptions of a layer, one of which may be empty."""
    if not ours:
        return f"it has no {theirs['name']!r}, the dialect has"
    if not theirs:
        return f"it has {ours['name']!r}, the dialect has not"
    key = next(key for key in (*ours, *theirs) if ours.get(key) != theirs.get(key))
    own, other = (entry.get(key, "not there") for entry in (ours, theirs))
    return f"{ours['name']}: {key} is {own!r}, the dialect has {other!r}"
