"""bench/run_recipe.py and bench/run_ablations.py: they train once, go on, score, and tabulate."""

from __future__ import annotations

import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

import run_ablations
import run_recipe
from sesr_ref.images import write_image
from studies import study
from studies.study import Outcome, Variant

TINY = (
    "--blocks 1 --features 3 --expand 4 --steps 4 --batch 2 --crop 8 --lr 1e-3 --validate-every 2"
)
VARIANTS = (
    Variant("base", "base"),
    Variant("longer", "six steps", "--steps 6"),
    Variant("wild", "a rate that is too high", "--lr 1e30"),
)


@pytest.fixture
def args(tmp_path: Path) -> Namespace:
    for folder, count in (("data", 2), ("val", 1)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            pixels = np.random.default_rng(i).integers(16, 236, (40, 50), dtype=np.uint8)
            write_image(tmp_path / folder / f"{i}.png", pixels)
    options = ["--data", "data", "--val", "val", "--out", "runs", "--engine", "reference"]
    paths = [str(tmp_path / o) if o in ("data", "val", "runs") else o for o in options]
    return study.parser("").parse_args(paths)


@pytest.mark.slow
def test_a_study_trains_what_is_not_finished_and_scores_everything(args: Namespace) -> None:
    pytest.importorskip("threadpoolctl")
    args.only = ["base", "wild"]
    first = study.outcomes(args, TINY, VARIANTS)
    assert [outcome.name for outcome in first] == ["base", "wild"]
    base, wild = first
    assert (base.steps, base.pixels) == (4, 4 * 2 * 8 * 8)
    assert [step for step, _ in base.curve] == [2, 4]
    assert base.psnr_db == pytest.approx(base.curve[-1][1], abs=1e-6)
    assert base.cpu_hours is not None
    assert wild.psnr_db is None
    weights = args.out / "base" / "weights.npz"
    before = weights.stat().st_mtime_ns
    args.only = None
    again = study.outcomes(args, TINY, VARIANTS)
    assert [outcome.name for outcome in again] == ["base", "longer", "wild"]
    assert weights.stat().st_mtime_ns == before
    assert again[0] == base
    assert again[1].steps == 6


def test_a_study_of_finished_runs_trains_nothing(args: Namespace) -> None:
    args.only_finished = True
    with pytest.raises(ValueError, match="holds no finished run"):
        study.outcomes(args, TINY, VARIANTS)
    assert not args.out.exists()


def test_a_run_of_another_recipe_in_the_folder_is_refused(args: Namespace) -> None:
    pytest.importorskip("threadpoolctl")
    args.only = ["base"]
    study.outcomes(args, TINY, VARIANTS)
    with pytest.raises(RuntimeError, match=r"another recipe: seed was 0 and is 5"):
        study.outcomes(args, f"{TINY} --seed 5", VARIANTS)


def test_a_variant_that_there_is_not_is_refused(args: Namespace) -> None:
    args.only = ["bass"]
    with pytest.raises(ValueError, match="no variant is called 'bass'; there are base, longer"):
        study.outcomes(args, TINY, VARIANTS)


@pytest.mark.parametrize(
    ("base", "variants"),
    [
        (run_recipe.BASE, run_recipe.variants(run_recipe.SEEDS)),
        (run_ablations.BASE, run_ablations.VARIANTS),
    ],
    ids=["recipe", "ablations"],
)
def test_every_variant_is_another_run_that_the_command_understands(
    base: str, variants: tuple[Variant, ...]
) -> None:
    names = [variant.name for variant in variants]
    assert len(set(names)) == len(names)
    runs = [str(study.recipe(f"{base} {variant.options}")) for variant in variants]
    assert len(set(runs)) == len(runs)


def outcome(name: str, psnr_db: float | None, pixels: int = run_recipe.BASE_PIXELS) -> Outcome:
    return Outcome(name, name, run_recipe.RATE, 3000, pixels, psnr_db, 0.01, [[500, 30.0]])


def recipe_outcomes(**differences: tuple[float | None, ...]) -> dict[str, Outcome]:
    """Base and changes by key, with _ for -."""
    base = (32.4, 32.5, 32.6)
    found = [outcome(f"base-s{seed}", score) for seed, score in enumerate(base)]
    for key, own in differences.items():
        for seed, d in enumerate(own):
            pixels = run_recipe.BASE_PIXELS * (2 if key == "batch_32" else 1)
            score = None if d is None else base[seed] + d
            found.append(outcome(f"{key.replace('_', '-')}-s{seed}", score, pixels))
    return {o.name: o for o in found}


def test_a_change_is_kept_if_it_stands_out_of_the_seeds_noise() -> None:
    found = recipe_outcomes(
        slope_25=(0.25, 0.25),
        no_average=(-0.3, -0.3),
        linear=(0.25,),
        constant=(0.1, 0.3),
        no_warmup=(0.1, 0.29),
        batch_32=(0.5, 0.5),
        expand_64=(-0.6,),
        lr_7e_4=(None, 0.1),
    )
    assert run_recipe.noise(found) == pytest.approx(0.1 * 2**0.5)
    verdicts = {row[0].rpartition("-s")[0]: row[-1] for row in run_recipe.rows_for(found)}
    assert verdicts == {
        "base": "-",
        "slope-25": "yes",
        "no-average": "no: worse",
        "linear": "no: within noise",
        "constant": "no: within noise",
        "no-warmup": "no: within noise",
        "batch-32": "no: 2 x the pixels",
        "expand-64": "no: worse",
        "lr-7e-4": "no: diverged",
    }
    (note,) = run_recipe.notes_for(found)
    assert "32.400, 32.500, 32.600 dB, standard deviation 0.100 dB, 0.141 dB" in note


def test_without_all_seeds_of_the_base_nothing_is_judged() -> None:
    found = recipe_outcomes(slope_25=(0.05, 0.06), linear=(0.1,))
    del found["base-s2"]
    base, slope, linear = run_recipe.rows_for(found)
    assert base[3:7] == ("32.400", "32.500", "-", "-")
    assert slope[3:] == ("32.450", "32.560", "+0.050", "+0.060", "36", "-")
    assert linear[3:7] == ("32.500", "-", "+0.100", "-")
    assert not run_recipe.notes_for(found)


def test_the_ablations_are_means_over_the_seeds_that_there_are() -> None:
    found = [
        outcome("abl-full-s0", 33.0),
        outcome("abl-full-s1", 33.2),
        outcome("abl-relu-s0", 32.9),
    ]
    full, _, nothing, relu = run_ablations.rows_for(found)
    assert full == ("full", "33.000", "33.200", "33.100", "-", "35.45", "-")
    assert nothing[1:5] == ("-", "-", "-", "-")
    assert relu[1:] == ("32.900", "-", "32.900", "-0.200", "35.35", "-0.10")


def test_tables_and_curves_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = [outcome("base", 32.4), outcome("lost", None)]
    rows = run_recipe.rows_for(recipe_outcomes(linear=(0.1, 0.2), expand_64=(0.0, 0.0)))
    study.write(tmp_path, "recipe", study.markdown(run_recipe.COLUMNS, rows), found)
    lines = (tmp_path / "recipe.md").read_text().splitlines()
    assert len(lines) == 5
    assert len({line.count("|") for line in lines}) == 1
    assert study.read(tmp_path / "recipe.jsonl") == found
    study.draw(tmp_path / "curves.png", "title", {"one": found, "none": []})
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_study_without_images_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    roots = ":".join(map(str, (root, root / "kernels", root / "weights")))
    for name in ("run_recipe", "run_ablations"):
        run = subprocess.run(
            [
                sys.executable,
                f"bench/{name}.py",
                "--data",
                "none",
                "--val",
                "nowhere",
                "--out",
                str(tmp_path),
                "--engine",
                "reference",
            ],
            cwd=root,
            env={"PYTHONPATH": roots},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 2
        assert re.fullmatch(r"nowhere: .*\n", run.stderr)
