"""bench/run_verify.py runs, and accepts this engine's own implementations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_bench_accepts_the_reference_and_draws_its_histogram(tmp_path: Path) -> None:
    imageio = pytest.importorskip("imageio.v3")
    rng = np.random.default_rng(0)
    imageio.imwrite(tmp_path / "noise.png", rng.integers(0, 256, (40, 40), np.uint8))
    command = [
        sys.executable,
        "bench/run_verify.py",
        "--data",
        str(tmp_path),
        "--size",
        "16",
        "--networks",
        "fsrcnn-x2",
        "--runtimes",
        "NumPy",
    ]
    environment = {"PYTHONPATH": ":".join(map(str, (ROOT, ROOT / "kernels", ROOT / "weights")))}
    for extra, expected in (([], "all accepted"), (["--calibrate"], "8 are allowed")):
        run = subprocess.run(
            [*command, *extra],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert expected in run.stdout
