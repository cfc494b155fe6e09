"""bench/draw_crops.py: the place it chooses, the sheet, the command on any image."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sesr_ref.evaluate.metrics import psnr
from sesr_ref.images import luma_of, read_image, write_image


@pytest.fixture
def crops(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "bench"))
    import draw_crops

    return draw_crops


def test_the_place_is_where_methods_differ_most_whoever_is_ahead(crops: ModuleType) -> None:
    a, b = np.ones((50, 70)), np.ones((50, 70))
    a[:9] = b[:9] = 40  # difficult for both
    a[30:38, 50:58] += 3
    b[12:16, 12:16] += 4
    assert crops.telling_place([a, b], 8, 2) == (slice(30, 38), slice(50, 58))
    a[30:38, 50:58] = 1
    rows, columns = crops.telling_place([a, b], 8, 2)
    assert rows.start <= 12 < 16 <= rows.stop
    assert columns.start <= 12 < 16 <= columns.stop
    assert crops.telling_place([a, b], 99, 3) == (slice(3, 47), slice(3, 67))


def test_pixels_are_enlarged_as_they_are_and_scores_are_of_the_crop(
    crops: ModuleType, rng: np.random.Generator
) -> None:
    pytest.importorskip("PIL")
    low = rng.random((15, 17, 3))
    photo = np.round(255 * crops.sr.imresize(low, 3).clip(0, 1)).astype(np.uint8)
    row = crops.strip(photo, "noise", 2, ["sesr-m3", "sesr-m5"], 12, crops.sr.REFERENCE)
    assert [text.split()[0] for text in row.captions] == [
        "bicubic",
        "SESR-M3",
        "SESR-M5",
        "original",
    ]
    for crop, text in zip(row.crops[:3], row.captions[:3], strict=True):
        expected = psnr(luma_of(row.crops[3]), luma_of(crop), 0)
        assert text.split()[1] == f"{expected:.2f}"
    sheet = crops.sheet([row, row], 2)
    assert sheet.shape == (2 * (24 + crops.LINE) + crops.GAP, 4 * 24 + 3 * crops.GAP, 3)
    assert np.array_equal(sheet[:24, :24], row.crops[0].repeat(2, 0).repeat(2, 1))


def test_the_command_takes_any_image_and_says_what_it_left_out(
    crops: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rng: np.random.Generator,
) -> None:
    pytest.importorskip("PIL")
    source, target = tmp_path / "grey.png", tmp_path / "crops.png"
    write_image(source, rng.integers(0, 256, (33, 46), dtype=np.uint8))
    options = [
        "draw_crops",
        str(source),
        "-o",
        str(target),
        "--engine",
        "reference",
        "--upscale",
        "2",
        "--networks",
        "sesr-m3",
        "vdsr",
    ]
    monkeypatch.setattr("sys.argv", options)
    assert crops.main() == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("grey, x2: bicubic ")
    assert "skipped, since not shipped: vdsr" in printed.err
    assert read_image(target).pixels.shape[2] == 3
    assert crops.main() == 2  # it exists now
    write_image(source, rng.integers(0, 256, (33, 46), dtype=np.uint16), overwrite=True)
    monkeypatch.setattr("sys.argv", [*options, "--overwrite"])
    assert crops.main() == 2
    assert "the image must have 8 bit" in capsys.readouterr().err
