"""examples/: every script runs as it stands, from any folder, and says what it promises."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SAYS = {
    "enlarge_a_photograph": ("sesr-m5-x2", " dB"),
    "train_and_look_at_the_curve": ("written: best.npz checkpoint.npz log.jsonl weights.npz",),
    "your_own_network": (
        "66 of 66 checks passed",
        "both: operands in reverse order",
        "two-branches-x2: x2, 20120 parameters, halo 4 pixels",
        "2824 weights, 0 biases, 24 slopes; 1.464 G MACs",
    ),
    "check_a_port_in_c": (
        "agrees: at most",
        "act0 is the first wrong tensor",
        "the first channel's slope for all",
    ),
    "cost_on_your_own_npu": ("the output of the whole image? True",),
}
SLOW = set(SAYS) - {"check_a_port_in_c"}


def test_every_example_is_run_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in SAYS]
)
def test_an_example_runs_and_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    if name == "check_a_port_in_c" and not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("needs a C compiler: cc, gcc or clang")
    before = sorted(EXAMPLES.iterdir())
    path = os.pathsep.join(str(ROOT / folder) for folder in (".", "kernels", "weights"))
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", EXAMPLES / f"{name}.py"],
        env=os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for text in SAYS[name]:
        assert text in done.stdout
    assert not list(tmp_path.iterdir())
    assert sorted(EXAMPLES.iterdir()) == before
