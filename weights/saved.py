"""What must outlive a machine: the newest stage of each network, small enough for git.

A stage that goes on is kept with its weights and moments as float16 with one shared exponent each
(second moments as roots), a finished one whose weights are not shipped with its weights alone.  The
run goes on from the moving average: it is a continuation of its kind, not of its bits.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import sesr_ref as sr
import state
from book import (
    CHAIN,
    CHECKPOINT,
    VERDICT,
    WEIGHTS,
    Book,
    keys_of,
    log_of,
    read_json,
    shipped_chain,
    write_json,
)
from plan import Stage
from sesr_ref.files import atomic_write
from sesr_ref.ops.arrays import Array
from sesr_ref.params import split
from sesr_ref.train.checkpoint import read_checkpoint, write_checkpoint
from sesr_ref.train.optimiser import Adam

BUDGET_BYTES = 8_000_000
"""Of everything in weights/states."""
EXACT_BITS, COARSE_BITS = 10, 6
"""Of a float16's fraction; moments have the second where the first leaves no room: 0.8 % off."""
MOMENTS = ("mean", "square", "largest")


def folder() -> Path:
    """Where the stages are kept; beside them lie the moments of shipped weights."""
    return state.STATES / "stages"


def file_of(stage: Stage) -> Path:
    """A stage's file."""
    return folder() / f"{stage.folder}.npz"


def newest(book: Book, network: str) -> Stage | None:
    """The last stage of a network that has a run here."""
    begun = [s for s in book.stages if s.network == network and book.begun(s)]
    return begun[-1] if begun else None


def needed(book: Book, stage: Stage) -> bool:
    """Whether a stage's state is lost with its run: its weights are not the shipped ones."""
    keys = keys_of(shipped_chain(stage.network))
    return not (book.finished(stage) and keys and keys[-1] == stage.key)


def packed(book: Book, stage: Stage, bits: int = EXACT_BITS) -> bytes:
    """What is kept of a stage; `bits` of each moment's fraction."""
    run = book.folder(stage)
    facts: dict[str, Any] = {
        "stage": stage.key,
        "finished": book.finished(stage),
        "log": log_of(run),
    }
    facts |= {name: read_json(run / name, None) for name in (CHAIN, VERDICT, "run.json")}
    arrays = {}
    if facts["finished"]:
        net, params = sr.load(run / WEIGHTS)
        facts["network"] = json.loads(net.to_json())
        arrays["weights"] = np.concatenate([array.ravel() for array in params.values()])
    else:
        meta, vectors = read_checkpoint(run / CHECKPOINT)
        facts["network"], facts["checkpoint"] = meta["network"], meta
        arrays["weights"] = vectors.get("average", vectors["weights"])
        arrays |= {key: vectors[key] for key in MOMENTS if key in vectors}
    return _pack(facts, arrays, bits)


def _pack(facts: dict[str, Any], arrays: Mapping[str, Array], bits: int) -> bytes:
    halves: dict[str, Any] = {}
    facts["shifts"] = {}
    for key, values in arrays.items():
        rooted = np.sqrt(values) if key in state.ROOTS else values
        half, facts["shifts"][key] = state.to_half(rooted)
        halves[key] = half if key == "weights" else coarse(half, bits)
    stream = io.BytesIO()
    text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    np.savez_compressed(stream, meta=text, **halves)
    return stream.getvalue()


def coarse(half: state.Half, bits: int) -> state.Half:
    """Round to fewer bits of the fraction, of which a file takes less when it is compressed."""
    drop = EXACT_BITS - bits
    if not drop:
        return half
    codes = half.view(np.uint16) + np.uint16(1 << (drop - 1))
    return (codes >> drop << drop).astype(np.uint16).view(np.float16)


def described(stage: Stage) -> dict[str, Any]:
    """What is said of a stage that is kept; nothing if it is not."""
    if not file_of(stage).exists():
        return {}
    with np.load(file_of(stage)) as file:
        facts: dict[str, Any] = json.loads(file["meta"].tobytes())
    return facts


def restore(book: Book, stage: Stage) -> bool:
    """Make the run of a stage that is kept and has none here.

    Parameters
    ----------
    book : Book
        Of the plan and its runs.
    stage : Stage
        Of the plan.

    Returns
    -------
    bool
        Whether there was something to be made.
    """
    if not file_of(stage).exists() or book.begun(stage) or book.done(stage):
        return False
    with np.load(file_of(stage)) as file:
        facts = json.loads(file["meta"].tobytes())
        arrays = {key: state.from_half(file[key], shift) for key, shift in facts["shifts"].items()}
    run = book.folder(stage)
    run.mkdir(parents=True, exist_ok=True)
    for name in (CHAIN, VERDICT, "run.json"):
        if facts[name] is not None:
            write_json(run / name, facts[name])
    with atomic_write(run / "log.jsonl") as stream:
        stream.write("".join(json.dumps(row) + "\n" for row in facts["log"]).encode())
    net = sr.Network.from_json(json.dumps(facts["network"]))
    params = split(arrays.pop("weights"), net.param_shapes())
    if facts["finished"]:
        sr.save(run / WEIGHTS, net, params)
    else:
        recipe = facts["checkpoint"]["recipe"]
        adam = Adam(params, recipe["amsgrad"], recipe["average"])
        roots = {key: np.square(m) if key in state.ROOTS else m for key, m in arrays.items()}
        write_checkpoint(run / CHECKPOINT, facts["checkpoint"], adam.state | roots)
    return True


def save(book: Book, budget: int = BUDGET_BYTES) -> list[str]:
    """Keep the newest stage of every network as far as the budget goes.

    Parameters
    ----------
    book : Book
        Its order is that of priority.
    budget : int
        Bytes for all of weights/states.  Moments of shipped weights have what remains.

    Returns
    -------
    list of str
        A line for each file that is written, left out or removed.
    """
    folder().mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for network in dict.fromkeys(stage.network for stage in book.stages):
        stages = [stage for stage in book.stages if stage.network == network]
        stage = newest(book, network)
        keep = stage if stage and needed(book, stage) else None
        if stage is None:  # no run here: what another machine left
            kept = [s for s in stages if file_of(s).exists() and not book.done(s)]
            budget -= sum(file_of(s).stat().st_size for s in kept)
            stages = [s for s in stages if s not in kept]
        for old in stages:
            if old is not keep and file_of(old).exists():
                file_of(old).unlink()
                lines.append(f"{old.key}: removed, it is no longer needed")
        if keep:
            budget -= _keep(book, keep, budget, lines)
    _give_the_rest(budget, lines)
    return lines


def _keep(book: Book, stage: Stage, budget: int, lines: list[str]) -> int:
    """Write a stage if there is room, for coarse moments at least; the bytes that it takes."""
    content, how = packed(book, stage), ""
    if len(content) > budget:
        content, how = packed(book, stage, COARSE_BITS), ", its moments to 0.8 %"
    size = f"{len(content) / 1e6:.2f} MB{how}"
    if len(content) > budget:
        file_of(stage).unlink(missing_ok=True)
        lines.append(f"{stage.key}: left out, it needs {size}; {budget / 1e6:.2f} MB are left")
        return 0
    with atomic_write(file_of(stage)) as stream:
        stream.write(content)
    lines.append(f"{stage.key}: {size}")
    return len(content)


def _give_the_rest(budget: int, lines: list[str]) -> None:
    """Remove moments of shipped weights for which there is no room."""
    for path in sorted(state.STATES.glob("*.npz"), key=lambda path: path.stat().st_size):
        size = path.stat().st_size
        if size > budget:
            path.unlink()
            lines.append(f"{path.stem}: the moments of the shipped weights are removed, no room")
        else:
            budget -= size
