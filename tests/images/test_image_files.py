"""Files of every kind to pixels and back; bad ones to one clear line."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref.images import Pixels, from_float, luma_of, read_luma

PIL = pytest.importorskip("PIL.Image")
tifffile = pytest.importorskip("tifffile")
imagecodecs = pytest.importorskip("imagecodecs")

KINDS = {"grey": (), "grey and alpha": (2,), "rgb": (3,), "rgb and alpha": (4,)}
LOSSLESS = {".png": 16, ".webp": 8, ".bmp": 8, ".tiff": 16, ".TIF": 16}


def _picture(channels: tuple[int, ...], dtype: Any = np.uint8) -> Pixels:
    """A smooth picture of an odd size, whose samples all differ."""
    rng = np.random.default_rng(7)
    ramp = np.linspace(0.1, 0.9, 11)[:, None] * np.linspace(0.3, 1, 17)
    shift = rng.random(channels) * 0.1
    return from_float(ramp.reshape(11, 17, *[1] * len(channels)) + shift, dtype)


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_survive_a_lossless_file(
    tmp_path: Path, suffix: str, kind: str, dtype: type
) -> None:
    pixels = _picture(KINDS[kind], dtype)
    path = tmp_path / f"picture{suffix}"
    if suffix == ".bmp" and KINDS[kind] in {(2,), (4,)}:
        with pytest.raises(ValueError, match=r"bmp cannot hold transparency: use png"):
            sr.write_image(path, pixels)
        return
    sr.write_image(path, pixels)
    got = sr.read_image(path)
    held = dtype if LOSSLESS[suffix] == 16 else np.uint8
    expected = pixels if pixels.dtype == held else from_float(pixels / 65535, np.uint8)
    if suffix == ".webp" and KINDS[kind] in {(), (2,)}:  # it knows colours alone
        grey = expected.reshape(11, 17, -1)
        expected = np.concatenate([grey[..., :1]] * 3 + [grey[..., 1:]], axis=2)
    np.testing.assert_array_equal(got.pixels, expected)
    assert got.pixels.dtype == expected.dtype
    assert got.notices == ()


@pytest.mark.parametrize("shape", [(11, 17), (11, 17, 3)])
def test_jpeg_keeps_the_picture(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = _picture(shape[2:])
    sr.write_image(tmp_path / "a.jpg", pixels)
    got = sr.read_image(tmp_path / "a.jpg").pixels
    assert got.shape == shape
    assert sr.psnr(pixels, got) > 45
    sr.write_image(tmp_path / "b.jpg", pixels, quality=5)
    assert (tmp_path / "b.jpg").stat().st_size < (tmp_path / "a.jpg").stat().st_size


def test_floats_survive_a_tiff_and_become_sixteen_bit_in_a_png(tmp_path: Path) -> None:
    pixels = _picture((3,), np.float32)
    sr.write_image(tmp_path / "a.tif", pixels)
    np.testing.assert_array_equal(sr.read_image(tmp_path / "a.tif").pixels, pixels)
    sr.write_image(tmp_path / "a.png", pixels)
    expected = from_float(pixels, np.uint16)
    np.testing.assert_array_equal(sr.read_image(tmp_path / "a.png").pixels, expected)


def test_one_channel_is_written_as_grey(tmp_path: Path) -> None:
    sr.write_image(tmp_path / "a.png", _picture((1,)))
    np.testing.assert_array_equal(sr.read_image(tmp_path / "a.png").pixels, _picture((1,))[..., 0])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_the_exif_orientation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    ops = pytest.importorskip("PIL.ImageOps")
    exif = PIL.Exif()
    exif[274] = orientation
    path = tmp_path / f"a{suffix}"
    PIL.fromarray(_picture((3,))).save(path, exif=exif)
    with PIL.open(path) as image:
        image.load()
        expected = np.asarray(ops.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(sr.read_image(path).pixels, expected)


def test_the_orientation_of_sixteen_bit_files_is_applied(tmp_path: Path) -> None:
    pixels = _picture((3,), np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", extratags=[(274, "H", 1, 6, True)])
    np.testing.assert_array_equal(sr.read_image(path).pixels, np.rot90(pixels, -1))


@pytest.mark.parametrize("mode", ["P", "1", "CMYK", "YCbCr", "LA", "PA"])
def test_every_pixel_mode_is_expanded(tmp_path: Path, mode: str) -> None:
    suffix = {"CMYK": ".tif", "YCbCr": ".tif", "PA": ".tif"}.get(mode, ".png")
    source = PIL.fromarray(_picture((4,))).convert("RGB" if mode == "YCbCr" else "RGBA")
    image = source.convert("RGB").convert(mode) if mode != "PA" else source.convert("PA")
    try:
        image.save(tmp_path / f"a{suffix}")
    except OSError:
        pytest.skip(f"Pillow writes no {mode}")
    kind = {"1": "L", "LA": "LA", "PA": "RGBA"}.get(mode, "RGB")
    expected = np.asarray(image.convert(kind))
    got = sr.read_image(tmp_path / f"a{suffix}").pixels
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_a_transparent_colour_becomes_an_alpha_channel(tmp_path: Path, mode: str) -> None:
    image = PIL.fromarray(_picture((3,))).convert(mode)
    transparent = image.getpixel((3, 4))
    image.save(tmp_path / "a.png", transparency=transparent)
    pixels = sr.read_image(tmp_path / "a.png").pixels
    assert pixels.shape == (11, 17, 2 if mode == "L" else 4)
    assert pixels[4, 3, -1] == 0
    assert pixels[10, 16, -1] == 255


def test_cmyk_jpegs_are_converted_by_their_formula(tmp_path: Path) -> None:
    PIL.fromarray(_picture((3,))).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    assert sr.psnr(sr.read_image(tmp_path / "a.jpg").pixels, _picture((3,))) > 40


def test_a_bad_cmyk_profile_is_reported_and_dropped(tmp_path: Path) -> None:
    image = PIL.fromarray(_picture((3,))).convert("CMYK")
    image.save(tmp_path / "a.tif", icc_profile=b"no profile" * 20)
    got = sr.read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(got.pixels, np.asarray(image.convert("RGB")))
    assert "CMYK profile cannot be used" in got.notices[0]
    assert got.icc_profile is None


@cache
def _srgb() -> bytes:  # cached, for it notes the second in which it is made
    cms = pytest.importorskip("PIL.ImageCms")
    return bytes(cms.ImageCmsProfile(cms.createProfile("sRGB")).tobytes())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_colour_profile_survives(tmp_path: Path, suffix: str, dtype: type) -> None:
    path = tmp_path / f"a{suffix}"
    sr.write_image(path, _picture((3,), dtype), icc_profile=_srgb())
    got = sr.read_image(path)
    assert got.icc_profile == _srgb()
    with PIL.open(path) as image:  # others read it as well
        image.load()
        assert image.info["icc_profile"] == _srgb()


def test_a_profile_for_another_colour_space_is_dropped(tmp_path: Path) -> None:
    PIL.fromarray(_picture(())).save(tmp_path / "a.jpg", icc_profile=_srgb())
    assert sr.read_image(tmp_path / "a.jpg").icc_profile is None


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_the_first_of_several_pictures_is_read_with_a_notice(tmp_path: Path, suffix: str) -> None:
    first, other = PIL.fromarray(_picture((3,))), PIL.fromarray(255 - _picture((3,)))
    options = {"lossless": True} if suffix == ".webp" else {}
    path = tmp_path / f"a{suffix}"
    first.save(path, save_all=True, append_images=[other, first], **options)
    got = sr.read_image(path)
    np.testing.assert_array_equal(got.pixels, _picture((3,)))
    assert got.notices == ("contains 3 pictures; only the first is read",)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_sixteen_bit_tiffs_of_either_polarity_are_read(tmp_path: Path, photometric: str) -> None:
    pixels = _picture((), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric, byteorder=">")
    expected = pixels if photometric == "minisblack" else 65535 - pixels
    got = sr.read_image(tmp_path / "a.tif").pixels
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == np.dtype(np.uint16)


def test_sixteen_bit_tiffs_of_separate_planes_are_read(tmp_path: Path) -> None:
    pixels = _picture((4,), np.uint16)
    for extra, kept in (("unassalpha", 4), ("unspecified", 3)):
        tifffile.imwrite(
            tmp_path / "a.tif",
            np.moveaxis(pixels, 2, 0),
            photometric="rgb",
            planarconfig="separate",
            extrasamples=[extra],
        )
        got = sr.read_image(tmp_path / "a.tif").pixels
        np.testing.assert_array_equal(got, pixels[..., :kept])


def test_the_content_decides_the_format_not_the_name(tmp_path: Path) -> None:
    sr.write_image(tmp_path / "a.png", _picture((3,)))
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    got = sr.read_image(tmp_path / "a.jpg")
    np.testing.assert_array_equal(got.pixels, _picture((3,)))
    assert got.format == "png"


def test_luma_is_studio_swing_and_one_channel_is_taken_as_it_is(tmp_path: Path) -> None:
    grey, rgb = _picture(()), _picture((3,))
    for name, pixels, expected in (
        ("grey.png", grey, grey / 255),
        ("grey16.png", grey.astype(np.uint16) * 257, grey / 255),
        ("rgb.png", rgb, rgb @ np.array([65.481, 128.553, 24.966]) / 255**2 + 16 / 255),
    ):
        sr.write_image(tmp_path / name, pixels)
        luma = read_luma(tmp_path / name)
        assert luma.dtype == np.float32
        np.testing.assert_allclose(luma, expected, atol=1e-6)


def test_luma_ignores_the_alpha_of_opaque_images_and_rejects_transparent_ones(
    tmp_path: Path,
) -> None:
    pixels = _picture((4,))
    pixels[..., 3] = 255
    np.testing.assert_array_equal(luma_of(pixels), luma_of(pixels[..., :3]))
    pixels[2, 2, 3] = 254
    sr.write_image(tmp_path / "a.png", pixels)
    with pytest.raises(ValueError, match=r"a\.png: the image has transparent pixels"):
        read_luma(tmp_path / "a.png")


# Bad files -------------------------------------------------------------------------------------


def _bytes_of(suffix: str, dtype: type = np.uint8) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(3).integers(0, np.iinfo(dtype).max, (40, 30, 3), dtype)
    if dtype == np.uint16 and suffix == ".png":
        return bytes(imagecodecs.png_encode(pixels))
    if suffix == ".tif":
        tifffile.imwrite(stream, pixels, photometric="rgb")
    else:
        PIL.fromarray(pixels).save(stream, PIL.registered_extensions()[suffix])
    return stream.getvalue()


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".png", np.uint8),
        (".png", np.uint16),
        (".jpg", np.uint8),
        (".webp", np.uint8),
        (".bmp", np.uint8),
        (".tif", np.uint8),
        (".tif", np.uint16),
    ],
)
def test_a_truncated_file_is_rejected(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str, dtype: type, share: float
) -> None:
    data = _bytes_of(suffix, dtype)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match=r"cut\.\w+: damaged, incomplete or unsupported") as caught:
        sr.read_image(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # decoders keep quiet


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a: an empty file"),
        (b"hello, world", "a: not an image"),
        (b"RIFF\0\0\0\0WAVE", "a: not an image"),
        (b"\x89PNG\r\n\x1a\n", "a: damaged, incomplete or unsupported png"),
    ],
)
def test_files_that_are_not_images_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        sr.read_image(tmp_path / "a")


def _png_claiming(width: int, height: int, depth: int = 8) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def _tiff_claiming(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((4, 4), np.uint16))
    data = bytearray(stream.getvalue())
    for tag, value in ((256, width), (257, height)):
        at = data.index(struct.pack("<HH", tag, 4))
        struct.pack_into("<I", data, at + 8, value)
    return bytes(data)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_header_claiming_too_many_pixels_is_rejected_before_decoding(
    tmp_path: Path, depth: int
) -> None:
    for name, data in (
        ("a.png", _png_claiming(60_000, 50_000, depth)),
        ("a.tif", _tiff_claiming(60_000, 50_000)),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match="3000000000 pixels, more than the limit"):
            sr.read_image(tmp_path / name)


def test_the_pixel_limit_can_be_changed(tmp_path: Path) -> None:
    sr.write_image(tmp_path / "a.png", _picture((3,)))
    assert sr.read_image(tmp_path / "a.png", max_pixels=11 * 17).pixels.shape == (11, 17, 3)
    with pytest.raises(ValueError, match="17 x 11 = 187 pixels, more than the limit of 186"):
        sr.read_image(tmp_path / "a.png", max_pixels=11 * 17 - 1)
    assert PIL.MAX_IMAGE_PIXELS is not None  # Pillow's own, which is everybody's, stays


def test_an_image_larger_than_pillows_limit_is_read_if_ours_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sr.write_image(tmp_path / "a.png", _picture((3,)))
    monkeypatch.setattr(PIL, "MAX_IMAGE_PIXELS", 10)
    assert sr.read_image(tmp_path / "a.png").notices == ()


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_an_image_without_pixels_is_rejected(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "a.png").write_bytes(_png_claiming(*size))
    with pytest.raises(ValueError, match=r"a\.png: "):
        sr.read_image(tmp_path / "a.png")


def test_unsupported_pixel_formats_are_named(tmp_path: Path) -> None:
    cases: dict[str, Callable[[Path], object]] = {
        "float64 samples": lambda p: tifffile.imwrite(p, np.zeros((9, 9), np.complex64)),
        "int32": lambda p: tifffile.imwrite(p, np.zeros((9, 9), np.int32)),
        "premultiplied": lambda p: tifffile.imwrite(
            p, np.zeros((9, 9, 4), np.uint16), photometric="rgb", extrasamples=["assocalpha"]
        ),
        "5 samples per pixel": lambda p: tifffile.imwrite(
            p, np.zeros((9, 9, 5), np.uint16), photometric="rgb"
        ),
        "LAB": lambda p: PIL.fromarray(_picture((3,))).convert("LAB").save(p),
    }
    for message, write in cases.items():
        write(tmp_path / "a.tif")
        message = message.replace("float64 samples", "complex64 samples")
        with pytest.raises(ValueError, match=message):
            sr.read_image(tmp_path / "a.tif")


def test_unreadable_paths_raise_the_systems_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sr.read_image(tmp_path / "missing.png")
    with pytest.raises(IsADirectoryError):
        sr.read_image(tmp_path)


@pytest.mark.parametrize(
    ("name", "pixels", "message"),
    [
        ("a.gif", np.zeros((4, 4), np.uint8), r"the suffix must be one of \.png, .*, got '\.gif'"),
        ("a", np.zeros((4, 4), np.uint8), "the suffix must be one of .*, got ''"),
        ("a.jpg", np.zeros((4, 4, 4), np.uint8), "jpeg cannot hold transparency"),
        ("a.png", np.zeros((4, 4, 5), np.uint8), "the number of channels must be 1 to 4, got 5"),
        ("a.png", np.zeros((4, 4), np.int32), "int32"),
        ("a.png", np.full((4, 4), np.nan), "NaN or infinite values in the image"),
        ("a.png", np.full((4, 4), 7.0), r"in \[0, 1\], got \(7\.0, 7\.0\)"),
        ("a.tif", np.full((4, 4), -7.0), r"in \[0, 1\], got \(-7\.0, -7\.0\)"),
        ("a.png", [[0, 1]], "must be a NumPy array, got list"),
        ("a.png", np.zeros((0, 4), np.uint8), "at least one pixel"),
        (
            "a.webp",
            np.zeros((1, 16384), np.uint8),
            "at most 16383 pixels per side, got",
        ),
        ("a.jpg", np.zeros((65501, 1), np.uint8), "jpeg holds at most 65500"),
    ],
)
def test_an_image_that_the_format_cannot_hold_is_rejected_and_nothing_is_written(
    tmp_path: Path, name: str, pixels: Pixels, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sr.write_image(tmp_path / name, pixels)
    assert list(tmp_path.iterdir()) == []


def test_overshoot_of_interpolation_is_clipped(tmp_path: Path) -> None:
    sr.write_image(tmp_path / "a.bmp", np.array([[-0.2, 0.0], [1.0, 1.3]]))
    np.testing.assert_array_equal(sr.read_image(tmp_path / "a.bmp").pixels, [[0, 0], [255, 255]])


def test_a_quality_outside_its_range_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 to 100, got 0"):
        sr.write_image(tmp_path / "a.jpg", _picture((3,)), quality=0)


def test_an_existing_file_is_kept_without_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        sr.write_image(path, _picture((3,)), overwrite=False)
    assert path.read_bytes() == b"precious"
    sr.write_image(path, _picture((3,)))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, dtype: type
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"precious")
    monkeypatch.setattr("os.fdopen", lambda handle, mode: open("/dev/full", mode))  # noqa: PTH123, SIM115
    pixels: Pixels = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    pixels = pixels.astype(dtype)
    with pytest.raises(OSError, match="No space left"):
        sr.write_image(path, pixels)
    assert path.read_bytes() == b"precious"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("package", "suffix", "dtype"),
    [
        ("imageio.v3", ".png", np.uint8),
        ("imagecodecs", ".png", np.uint16),
        ("tifffile", ".tif", np.uint8),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, suffix: str, dtype: type
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(_bytes_of(suffix, dtype))
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"{package.partition('.')[0]}: pip install 'sesr-ref\[images\]'"
    with pytest.raises(ImportError, match=message):
        sr.read_image(path)
    with pytest.raises(ImportError, match=message):
        sr.write_image(path, _picture((3,), dtype))
    assert list(tmp_path.iterdir()) == [path]
