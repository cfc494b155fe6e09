"""Go on with the training of shipped weights: python weights/state.py NAME OUT --steps N.

Writes OUT/checkpoint.npz from weights/states/NAME.npz (which ship.py --state writes) and NAME's
weights, as if the run had been one of N steps from the start; sesr-ref train --resume goes on from
there with the learning rate of that schedule.  The optimiser's moments are stored as float16 with
one shared exponent each (second moments as roots), and the run starts from the moving average: it
is a continuation of its kind, not of its bits.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import sesr_ref as sr
from sesr_ref.files import atomic_write
from sesr_ref.ops.arrays import Array
from sesr_ref.shipped import shipped
from sesr_ref.train.optimiser import Adam

STATES = Path(__file__).parent / "states"
ROOTS = ("square", "largest")
"""Second moments: their square roots have half as many orders of magnitude."""

Half = npt.NDArray[np.float16]


def to_half(array: Array) -> tuple[Half, int]:
    """Round to float16 after a shift that brings the largest value to 2^14; and that shift."""
    largest = float(np.abs(array).max())
    shift = 14 - int(np.frexp(largest)[1]) if largest else 0
    return np.ldexp(array.astype(np.float64), shift).astype(np.float16), shift


def from_half(half: Half, shift: int) -> Array:
    """Undo `to_half`, to float32."""
    return np.ldexp(half.astype(np.float64), -shift).astype(np.float32)


def write_state(run: Path, name: str) -> Path:
    """Store a finished run's moments for the weights that are shipped as `name`.

    Parameters
    ----------
    run : Path
        The ``--out`` of ``sesr-ref train``.
    name : str
        Shipped just now from that run.

    Returns
    -------
    Path
        Of the file.
    """
    with np.load(run / "checkpoint.npz") as file:
        meta = json.loads(file["meta"].tobytes())
        arrays, shifts = {}, {}
        for key in file.files:
            if key not in {"meta", "weights", "average"}:
                values = np.sqrt(file[key]) if key in ROOTS else file[key]
                arrays[key], shifts[key] = to_half(values)
    facts = {key: meta[key] for key in ("network", "recipe", "data", "step", "best", "log")}
    facts |= {"weights_sha256": shipped()[name]["sha256"], "shifts": shifts}
    stored: dict[str, Any] = {"meta": np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays}
    STATES.mkdir(exist_ok=True)
    path = STATES / f"{name}.npz"
    with atomic_write(path) as stream:
        np.savez_compressed(stream, **stored)
    return path


def read_state(name: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """What a run was, and its moments.

    Parameters
    ----------
    name : str
        A shipped name.

    Returns
    -------
    meta : dict
        As in a checkpoint, with ``weights_sha256`` and ``shifts``.
    moments : dict of float32 arrays
        ``mean``, ``square`` and, for AMSGrad, ``largest``.

    Raises
    ------
    OSError
        If there is no state of `name`.
    ValueError
        If it belongs to other weights than are shipped.
    """
    path = STATES / f"{name}.npz"
    with np.load(path) as file:
        meta = json.loads(file["meta"].tobytes())
        moments = {key: from_half(file[key], shift) for key, shift in meta["shifts"].items()}
    if meta["weights_sha256"] != shipped().get(name, {}).get("sha256"):
        raise ValueError(f"{path}: is not of the weights that are shipped as {name}")
    return meta, {key: np.square(m) if key in ROOTS else m for key, m in moments.items()}


def remove_stale_state(name: str) -> None:
    """Remove the state of weights that are no longer shipped as `name`."""
    path = STATES / f"{name}.npz"
    if path.is_file():
        try:
            read_state(name)
        except ValueError:
            path.unlink()


def write_checkpoint(name: str, out: Path, steps: int) -> None:
    """Write the checkpoint that ``sesr-ref train --resume`` goes on from.

    Parameters
    ----------
    name : str
        A shipped name of which there is a state.
    out : Path
        Folder of the new run; must not hold one.
    steps : int
        Of the whole run, those already done included.

    Raises
    ------
    FileExistsError
        If `out` holds a run.
    ValueError
        As `read_state`, and if there are no steps left.
    """
    meta, moments = read_state(name)
    if steps <= meta["step"]:
        raise ValueError(f"--steps must be above the {meta['step']} that are done, got {steps}")
    recipe = meta["recipe"] | {"steps": steps}
    adam = Adam(sr.load(name)[1], recipe["amsgrad"], recipe["average"])
    adam.state |= moments
    facts = {key: meta[key] for key in ("network", "data", "step", "best", "log")}
    facts |= {"recipe": recipe, "losses": []}
    stored: dict[str, Any] = {
        "meta": np.frombuffer(json.dumps(facts).encode(), np.uint8),
        **adam.state,
    }
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / "checkpoint.npz", overwrite=False) as stream:
        np.savez(stream, **stored)


def main() -> int:
    """Write the checkpoint and say how to go on; 2 for what cannot be gone on with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", metavar="NAME", help="such as sesr-m5-x2")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of the new run")
    parser.add_argument("--steps", type=int, required=True, help="in all")
    args = parser.parse_args()
    try:
        write_checkpoint(args.name, args.out, args.steps)
    except (ValueError, OSError) as error:
        print(f"state.py: {error}", file=sys.stderr)
        return 2
    command = shlex.split(shipped()[args.name]["recipe"]["command"])
    command += ["--out", str(args.out), "--steps", str(args.steps), "--resume"]
    print(f"go on, with your own --data and --val of the same images, by:\n{shlex.join(command)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
