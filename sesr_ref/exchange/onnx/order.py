"""Which nodes of a graph an output needs, each after those that it reads."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any

from sesr_ref.exchange.onnx.words import place_of


def sort_nodes(graph: Any) -> None:
    """Put the nodes of a graph behind those that make what they read, else as they stand.

    Parameters
    ----------
    graph : onnx.GraphProto
        Changed in place.

    Raises
    ------
    ValueError
        If a node reads what only a later one makes of its own output: a cycle.
    """
    nodes = list(graph.node)
    makers = {out: i for i, node in enumerate(nodes) for out in node.output if out}
    sources = [{makers[name] for name in node.input if name in makers} for node in nodes]
    readers: dict[int, list[int]] = {}
    for i, before in enumerate(sources):
        for source in before:
            readers.setdefault(source, []).append(i)
    waiting = [len(before) for before in sources]
    ready = [i for i, count in enumerate(waiting) if not count]
    order: list[int] = []
    while ready:
        order.append(i := heapq.heappop(ready))
        for reader in readers.get(i, ()):
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        raise ValueError(_cycle(nodes, makers, [i for i, count in enumerate(waiting) if count]))
    if order != sorted(order):
        ordered = [nodes[i] for i in order]
        copies = [type(node).FromString(node.SerializeToString()) for node in ordered]
        del graph.node[:]
        graph.node.extend(copies)


def _cycle(nodes: list[Any], makers: Mapping[str, int], left: list[int]) -> str:
    """Name a node among those left over and one of its sources, both of a cycle or behind one."""
    rest = set(left)
    i, name, maker = next(
        (i, name, makers[name])
        for i in left
        for name in nodes[i].input
        if makers.get(name, -1) in rest and makers[name] >= i
    )
    reader, source = place_of(i, nodes[i]), place_of(maker, nodes[maker])
    return f"{reader} reads {name!r}, which is made by {source}: a cycle"


def needed_nodes(graph: Any, wanted: str, sources: Mapping[str, str]) -> list[int]:
    """Positions of the nodes that a tensor depends on, in the graph's order.

    Parameters
    ----------
    graph : onnx.GraphProto
        Sorted.
    wanted : str
        Name of the tensor.
    sources : dict of str
        By the name of a tensor that several nodes make together, what the first of them reads;
        the nodes between are not needed for it.

    Returns
    -------
    list of int
    """
    needed: list[int] = []
    names = {wanted}
    for i in range(len(graph.node) - 1, -1, -1):
        node = graph.node[i]
        if names.isdisjoint(node.output):
            continue
        needed.append(i)
        found = [sources[out] for out in node.output if out in sources]
        names.update(found or node.input)
    return needed[::-1]
