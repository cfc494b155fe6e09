"""Training pairs from folders, the cache, batches."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from sesr_ref.images import imresize, luma_of, write_image
from sesr_ref.train import prepared
from sesr_ref.train.data import Pairs, find_images, training_pairs, turned


def write(path: Path, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    write_image(path, image)
    return image


def test_images_are_found_below_but_not_in_folders_of_small_ones(tmp_path: Path) -> None:
    for name in ("DIV2K_train_HR/0002.png", "DIV2K_train_HR/0001.png", "LRbicx2/a.png", "b.BMP"):
        write(tmp_path / name, (4, 4))
    (tmp_path / "notes.txt").write_text("no image")
    names = [str(p.relative_to(tmp_path)) for p in find_images(tmp_path)]
    assert names == ["DIV2K_train_HR/0001.png", "DIV2K_train_HR/0002.png", "b.BMP"]


@pytest.mark.parametrize(
    ("folder", "wanted"),
    [
        ("DIV2K_train_LR_bicubic/X2", False),
        ("Flickr2K_LR", False),
        ("LR", False),
        ("LRx4", False),
        ("LRBI", False),
        ("train-LR", False),
        ("COLR", True),
        ("LRoses", True),
        ("HR", True),
    ],
)
def test_a_folder_of_small_images_is_told_by_a_part_of_its_name(
    tmp_path: Path, folder: str, wanted: bool
) -> None:
    write(tmp_path / folder / "a.png", (4, 4))
    write(tmp_path / "b.png", (4, 4))
    assert len(find_images(tmp_path)) == 1 + wanted


def test_validation_images_beside_the_training_images_are_left_out_unless_named(
    tmp_path: Path,
) -> None:
    for folder in ("DIV2K_train_HR", "DIV2K_valid_HR", "invalid"):
        write(tmp_path / folder / "a.png", (20, 20))
    names = [path.parent.name for path in find_images(tmp_path)]
    assert names == ["DIV2K_train_HR", "invalid"]
    with pytest.warns(UserWarning, match="DIV2K_valid_HR is left out, being for validation"):
        assert len(training_pairs(tmp_path, 2, 4, tmp_path / "cache").low) == 2
    assert len(find_images(tmp_path / "DIV2K_valid_HR")) == 1
    shutil.rmtree(tmp_path / "DIV2K_train_HR")
    shutil.rmtree(tmp_path / "invalid")
    with pytest.raises(FileNotFoundError, match=r"holds no image .*, DIV2K_valid_HR left out"):
        find_images(tmp_path)


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    write(tmp_path / "a.png", (4, 4))
    (tmp_path / "._a.png").write_bytes(b"a system's notes on a.png")
    assert [path.name for path in find_images(tmp_path)] == ["a.png"]


def test_a_missing_and_an_empty_folder_say_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_images(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="holds no image"):
        find_images(tmp_path)


def test_one_channel_is_luma_and_colour_is_converted(tmp_path: Path) -> None:
    grey = write(tmp_path / "in/a.png", (21, 19))
    rgb = write(tmp_path / "in/b.png", (20, 24, 3))
    pairs = training_pairs(tmp_path / "in", 2, 4, tmp_path / "cache")
    assert np.array_equal(pairs.high[0], grey[:20, :18])
    y = 16 + (rgb.astype(float) / 255) @ [65.481, 128.553, 24.966]
    assert np.abs(pairs.high[1] - y).max() <= 0.5001
    assert [low.shape for low in pairs.low] == [(10, 9), (10, 12)]
    summary = pairs.summary()
    assert len(str(summary.pop("sha256"))) == 64
    assert summary == {"upscale": 2, "channels": 1, "images": 2, "pixels": 360 + 480}


@pytest.mark.parametrize("low", ["8bit", "float"])
def test_rgb_pairs_hold_colours_and_three_equal_channels_of_grey(tmp_path: Path, low: str) -> None:
    grey = write(tmp_path / "in/a.png", (21, 19))
    rgb = write(tmp_path / "in/b.png", (20, 25, 3))
    opaque = np.concatenate([rgb, np.full((20, 25, 1), 255, np.uint8)], axis=2)
    write_image(tmp_path / "in/c.png", opaque)
    pairs = training_pairs(tmp_path / "in", 2, 4, tmp_path / "cache", low=low, channels=3)
    assert pairs.channels == pairs.summary()["channels"] == 3
    assert pairs.summary()["pixels"] == 360 + 480 + 480
    cut = rgb[:, :24]
    np.testing.assert_array_equal(pairs.high[0], np.stack([grey[:20, :18]] * 3, axis=2))
    for i in (1, 2):
        np.testing.assert_array_equal(pairs.high[i], cut)
        if low == "8bit":  # as a file of it would hold it
            np.testing.assert_array_equal(pairs.low[i], imresize(cut, 0.5))
        else:
            np.testing.assert_array_equal(pairs.low[i], imresize(cut / 255, 0.5).astype("f4"))
    x, target = pairs.batch(np.random.default_rng(0), 5, 4)
    assert x.shape == (5, 4, 4, 3)
    assert target.shape == (5, 8, 8, 3)
    assert x.dtype == target.dtype == np.float32


def test_rgb_and_luma_of_one_folder_share_a_cache_without_mixing(tmp_path: Path) -> None:
    write(tmp_path / "in/a.png", (20, 24, 3))
    cache = tmp_path / "cache"
    for _ in range(2):
        assert training_pairs(tmp_path / "in", 2, 4, cache).channels == 1
        assert training_pairs(tmp_path / "in", 2, 4, cache, channels=3).channels == 3
    assert len(list(cache.glob("*.npy"))) == 2


def test_a_batch_of_rgb_turns_pixels_and_keeps_their_channels() -> None:
    low = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    pairs = Pairs(2, [low], [np.kron(low, np.ones((2, 2, 1), np.uint8))])
    x, target = pairs.batch(np.random.default_rng(1), 16, 4)
    np.testing.assert_array_equal(x, target[:, ::2, ::2])
    samples = np.rint(x * 255)
    np.testing.assert_array_equal(samples[..., 1], samples[..., 0] + 1)  # channels stay in order
    assert len({sample.tobytes() for sample in samples}) > 4  # and crops are turned


def test_a_summary_depends_on_every_pixel_and_not_on_where_it_lies(tmp_path: Path) -> None:
    image = write(tmp_path / "in/a.png", (20, 20))
    first = training_pairs(tmp_path / "in", 2, 4, tmp_path / "cache").summary()
    shutil.copytree(tmp_path / "in", tmp_path / "moved")
    moved = training_pairs(tmp_path / "moved", 2, 4, tmp_path / "cache2").summary()
    assert moved == first
    image[3, 3] ^= 128
    write_image(tmp_path / "in/a.png", image)
    other = training_pairs(tmp_path / "in", 2, 4, tmp_path / "cache").summary()
    assert other.keys() == first.keys()
    assert {key for key in other if other[key] != first[key]} == {"sha256"}


def test_small_images_are_skipped_with_one_warning(tmp_path: Path) -> None:
    for name, size in (("a", 40), ("b", 31), ("c", 1), ("d", 32)):
        write(tmp_path / f"in/{name}.png", (size, 50))
    with pytest.warns(UserWarning, match="2 of 4 images have fewer than 32 pixels") as caught:
        pairs = training_pairs(tmp_path / "in", 2, 16, tmp_path / "cache")
    assert len(caught) == 1
    assert len(pairs.low) == 2


def test_a_folder_without_any_image_as_large_as_a_crop_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "in/a.png", (30, 50))
    with pytest.raises(ValueError, match="none of its 1 images has 32 pixels a side"):
        training_pairs(tmp_path / "in", 2, 16, tmp_path / "cache")


def test_an_unreadable_image_is_named_and_leaves_no_cache(tmp_path: Path) -> None:
    write(tmp_path / "in/a.png", (30, 50))
    (tmp_path / "in/b.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"b\.png"):
        training_pairs(tmp_path / "in", 2, 4, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_pairs_are_made_once_until_the_images_change(tmp_path: Path) -> None:
    write(tmp_path / "in/a.png", (20, 20))
    cache, told = tmp_path / "cache", []

    def report(done: int, total: int, name: str) -> None:
        told.append((done, total, name))

    first = training_pairs(tmp_path / "in", 2, 4, cache, report)
    again = training_pairs(tmp_path / "in", 2, 4, cache, report)
    assert told == [(0, 1, "a.png")]
    assert np.array_equal(first.low[0], again.low[0])
    write(tmp_path / "in/b.png", (20, 20))
    assert len(training_pairs(tmp_path / "in", 2, 4, cache, report).low) == 2
    shutil.rmtree(cache)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_small_images_may_be_kept_unrounded(tmp_path: Path, channels: tuple[int, ...]) -> None:
    image = write(tmp_path / "in/a.png", (21, 19, *channels))
    write(tmp_path / "in/b.png", (8, 9))  # an odd number of samples ahead of floats
    write(tmp_path / "in/c.png", (12, 12))
    eight = training_pairs(tmp_path / "in", 2, 4, tmp_path / "cache")
    pairs = training_pairs(tmp_path / "in", 2, 4, tmp_path / "cache", low="float")
    luma = luma_of(image[:20, :18] / 255.0)
    assert pairs.low[0].dtype == np.float32
    np.testing.assert_allclose(pairs.low[0], imresize(luma, 0.5), atol=1e-7)
    for ours, rounded in zip(pairs.low, eight.low, strict=True):
        assert 0 < np.abs(ours - rounded / 255).max() < 2.6 / 255
    for ours, other in zip(pairs.high, eight.high, strict=True):
        np.testing.assert_array_equal(ours, other)
    assert pairs.summary() != eight.summary()
    x, target = pairs.batch(np.random.default_rng(0), 3, 4)
    assert x.dtype == target.dtype == np.float32
    assert len(np.unique(np.round(255 * x, 3) % 1)) > 2


def test_prepared_images_have_a_folder_for_each_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESR_PAIRS_DIR", str(tmp_path / "pairs"))
    one, other = (prepared.folder_for(tmp_path / name / "train") for name in ("a", "b"))
    assert one != other
    assert one.parent == other.parent == tmp_path / "pairs"
    assert one.name.startswith("train-")
    monkeypatch.chdir(tmp_path)
    assert prepared.folder_for(Path("a/train")) == one
    monkeypatch.delenv("SESR_PAIRS_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert prepared.users_folder() == tmp_path / "home" / "sesr-ref" / "pairs"


def test_what_was_used_longest_ago_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESR_PAIRS_DIR", str(tmp_path))
    files = [tmp_path / name / f"pairs-{name}.npy" for name in "abc"]
    for age, file in enumerate(files):
        file.parent.mkdir()
        prepared.write(file, [(np.zeros((10, 10), np.uint8), np.zeros((20, 20), np.uint8))])
        os.utime(file, (1000 - age, 1000 - age))
    assert prepared.prune(1500) == []
    assert prepared.mapped(files[2])  # which is a use
    assert prepared.prune(1499) == [files[1]]
    assert not list(files[1].parent.iterdir())
    assert prepared.prune(0) == [files[0]]
    assert prepared.mapped(files[2])


def test_a_batch_is_cut_at_the_same_place_small_and_large() -> None:
    rng = np.random.default_rng(0)
    low = [rng.integers(0, 256, size, dtype=np.uint8) for size in ((9, 13), (8, 8))]
    pairs = Pairs(3, low, [np.kron(image, np.ones((3, 3), np.uint8)) for image in low])
    with warnings.catch_warnings():
        x, target = pairs.batch(np.random.default_rng(1), 40, 8)
    assert x.shape == (40, 8, 8, 1)
    assert target.shape == (40, 24, 24, 1)
    assert x.dtype == target.dtype == np.float32
    assert np.array_equal(np.kron(x, np.ones((1, 3, 3, 1))), target)
    assert x.max() <= 1


def test_every_place_in_every_image_is_as_likely() -> None:
    low = [np.full((8, 8), 0, np.uint8), np.full((8, 15), 255, np.uint8)]
    pairs = Pairs(2, low, [np.kron(image, np.ones((2, 2), np.uint8)) for image in low])
    x, _ = pairs.batch(np.random.default_rng(0), 2000, 8)
    assert abs(x[:, 0, 0, 0].mean() - 8 / 9) < 0.03


def test_the_eight_turns_differ_and_keep_the_pixels() -> None:
    image = np.arange(9, dtype=np.uint8).reshape(3, 3)
    turns = {turned(image, i).tobytes() for i in range(8)}
    assert len(turns) == 8
    assert np.array_equal(turned(image, 0), image)


@pytest.mark.parametrize("text", ["[{}]", "{", '[{"offset": 0, "low": [9, 9], "high": [900, 9]}]'])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, text: str) -> None:
    write(tmp_path / "in/a.png", (20, 20))
    cache = tmp_path / "cache"
    first = training_pairs(tmp_path / "in", 2, 4, cache)
    (index,) = cache.glob("*.json")
    index.write_text(text)
    again = training_pairs(tmp_path / "in", 2, 4, cache)
    assert np.array_equal(first.low[0], again.low[0])
    assert np.array_equal(first.high[0], again.high[0])


def test_an_image_with_transparency_is_named(tmp_path: Path) -> None:
    write(tmp_path / "in/glass.png", (20, 20, 4))
    with pytest.raises(ValueError, match=r"glass\.png: .*transparent"):
        training_pairs(tmp_path / "in", 2, 4, tmp_path / "cache")
