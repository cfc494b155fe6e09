"""Take a training run's weights into the package: python weights/ship.py RUN NAME --data EVAL.

Copies RUN/weights.npz, scores it on EVAL's test sets and writes its entry in the manifest, with
the command and the hours that RUN/run.json states.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sesr_ref as sr
from sesr_ref.commands.models import engine_named
from sesr_ref.evaluate import PROTOCOLS, network, score_folder
from sesr_ref.files import atomic_write, sha256_of

PACKAGE = Path(__file__).parent / "sesr_weights"
SETS = ("Set5", "Set14", "BSD100")


def entry_for(
    run: Path, weights: Path, data: Path, protocol: str, command: str | None
) -> dict[str, Any]:
    """What the manifest says of a file of weights."""
    net, params = sr.load(weights)
    recipe = json.loads((run / "run.json").read_text("utf-8"))
    recipe["command"] = command or recipe["command"]
    log = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    scores: dict[str, Any] = {"protocol": f"{protocol}: {PROTOCOLS[protocol].text}; Y, border = s"}
    for name in SETS:
        methods = {"network": network(net, params, engine_named("auto"))}
        mean = score_folder(data / name, methods, net.upscale, PROTOCOLS[protocol]).mean()
        scores[name] = {key: round(value, 4) for key, value in asdict(mean["network"]).items()}
    small = sr.collapsed(net).param_shapes()
    return {
        "file": weights.name,
        "sha256": sha256_of(weights),
        "network": net.name,
        "parameters": sum(array.size for array in params.values()),
        "collapsed_parameters": sum(math.prod(shape) for shape in small.values()),
        "recipe": recipe | {"steps": log[-1]["step"], "validation_psnr_db": log[-1]["psnr_db"]},
        "scores": scores,
    }


def main() -> int:
    """Copy, score, and write the manifest anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="--out of sesr-ref train")
    parser.add_argument("name", help="such as sesr-m5-x2")
    parser.add_argument("--data", type=Path, required=True, help="folder of test sets")
    parser.add_argument("--weights", default="weights.npz", help="file in RUN (weights.npz)")
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), default="y")
    parser.add_argument("--command", help="the recipe, if RUN/run.json states private paths")
    args = parser.parse_args()
    net, params = sr.load(args.run / args.weights)
    target = PACKAGE / f"{args.name}.npz"
    sr.save(target, net, params)
    manifest = PACKAGE / "manifest.json"
    entries = json.loads(manifest.read_text("utf-8")) if manifest.is_file() else {}
    entries[args.name] = entry_for(args.run, target, args.data, args.protocol, args.command)
    with atomic_write(manifest) as stream:
        stream.write((json.dumps(entries, indent=2) + "\n").encode())
    print(json.dumps(entries[args.name], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
