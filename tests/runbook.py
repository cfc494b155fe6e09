"""A small run book for tests: a plan of three stages, and how weights/run.py is called."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import run

NAME = "sesr-m1-x2"
Capture = pytest.CaptureFixture[str]
PLAN = """
[networks]
sesr-m1-x2 = "--blocks 1 --expand 4"
sesr-m1-x4 = "--blocks 1 --expand 4 --upscale 4"
[recipes]
usual = "--batch 2 --crop 8 --amsgrad --average 0.9 --checkpoint-every 7 --validate-every 20"
long = "--lr 1e-3"
l2 = "--lr 1e-3 --schedule cosine --loss l2"
[book]
stages = [
  { network = "sesr-m1-x2", stage = "long", recipe = "long", pixels = 5120, seed = 1, start = "" },
  { network = "sesr-m1-x2", stage = "l2", recipe = "l2", pixels = 2560, seed = 2 },
  { network = "sesr-m1-x4", stage = "x4", recipe = "long", pixels = 1280, seed = 3, \
start = "sesr-m1-x2/l2" },
]
"""


def words(images: Path, plan_file: Path, *options: str) -> list[str]:
    return [
        "--data",
        str(images / "train"),
        "--val",
        str(images / "Kodak24"),
        "--eval",
        str(images),
        "--plan",
        str(plan_file),
        "--runs",
        str(plan_file.parent / "runs"),
        "--engine",
        "reference",
        *options,
    ]


def done(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr(os, "nice", lambda value: None)
    monkeypatch.setattr("sys.argv", ["run.py", *options])
    return run.main()


def states_of(monkeypatch: pytest.MonkeyPatch, capsys: Capture, *options: str) -> dict[str, str]:
    capsys.readouterr()
    assert done(monkeypatch, *options, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["stages"]
    return {row["stage"]: row["state"] for row in rows}
