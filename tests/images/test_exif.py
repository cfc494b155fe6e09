"""Metadata of a file is copied with its pixels, or reported as lost."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL", reason="needs the extra images")

from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

import sesr_ref as sr
from sesr_ref.cli import main
from sesr_ref.images.exif import carried

ARTIST, ORIENTATION, DETAILS, LENS, WIDTH = 0x013B, 0x0112, 0x8769, 0xA434, 0xA002
PIXELS = np.arange(14 * 10 * 3, dtype=np.uint8).reshape(14, 10, 3)


def exif() -> Pillow.Exif:
    tags = Pillow.Exif()
    tags[ARTIST], tags[ORIENTATION] = "A. Person", 6
    tags.get_ifd(DETAILS).update({LENS: "50 mm", WIDTH: 10})
    return tags


def written(path: Path, **options: Any) -> Path:
    Pillow.fromarray(PIXELS).save(path, **options)
    return path


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_exif_is_kept_except_for_the_orientation(tmp_path: Path, kind: str) -> None:
    source = written(tmp_path / f"in.{kind}", exif=exif())
    target = tmp_path / f"out.{kind}"
    assert main(["upscale", str(source), "-o", str(target)]) == 0
    with Pillow.open(target) as image:
        assert image.size == (28, 20)  # turned
        found = image.getexif()
        assert found[ARTIST] == "A. Person"
        assert ORIENTATION not in found
        assert dict(found.get_ifd(DETAILS)) == {LENS: "50 mm"}


def test_sixteen_bit_pngs_keep_exif_too(tmp_path: Path) -> None:
    source = written(tmp_path / "in.png", exif=exif())
    image = sr.read_image(source)
    deep = image.pixels.astype(np.uint16) * 257
    sr.write_image(tmp_path / "deep.png", deep, exif=image.exif)
    again = sr.read_image(tmp_path / "deep.png")
    assert again.pixels.dtype == np.uint16
    assert again.exif == image.exif


@pytest.mark.parametrize("kind", ["bmp", "tif"])
def test_formats_without_exif_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    source = written(tmp_path / "in.jpg", exif=exif())
    assert main(["upscale", str(source), "-o", str(tmp_path / f"out.{kind}"), "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["written"]
    assert any("EXIF" in text for text in entry["notices"])


def test_unreadable_exif_does_not_prevent_reading_the_pixels() -> None:
    assert carried(b"Exif\0\0MM\0*\xff\xff\xff\xff") is None
    assert carried(None) is None
    tags = exif()
    tags[ARTIST] = "A" * 70_000  # more than a JPEG could be written with
    assert carried(tags.tobytes()) is None
    assert carried(Pillow.Exif().tobytes()) is None


def test_lost_png_colours_and_xmp_are_reported(tmp_path: Path) -> None:
    def notices(chunks: list[tuple[bytes, bytes]], **options: Any) -> tuple[str, ...]:
        info = PngInfo()
        for name, data in chunks:
            info.add(name, data)
        return sr.read_image(written(tmp_path / "x.png", pnginfo=info, **options)).notices

    linear, usual = (value.to_bytes(4, "big") for value in (100000, 45455))
    assert "gAMA, cHRM" in notices([(b"gAMA", linear)])[0]
    assert notices([(b"gAMA", usual)]) == ()
    assert notices([(b"sRGB", b"\0"), (b"gAMA", linear)]) == ()
    stream = io.BytesIO()
    Pillow.fromarray(PIXELS).save(stream, "webp", xmp=b"<x/>")
    (tmp_path / "x.webp").write_bytes(stream.getvalue())
    assert sr.read_image(tmp_path / "x.webp").notices == ("XMP metadata is not copied",)


def test_unsupported_files_of_a_folder_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    written(tmp_path / "in/a.png")
    (tmp_path / "in/b.heic").write_bytes(b"")
    (tmp_path / "in/.hidden").write_bytes(b"")
    assert main(["upscale", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--json"]) == 0
    output = capsys.readouterr()
    assert "skipped, since the format is not supported: b.heic\n" in output.err
    assert [Path(name).name for name in json.loads(output.out)["ignored"]] == ["b.heic"]


@pytest.mark.parametrize(
    ("head", "kind"),
    [(b"GIF89a", "GIF"), (b"\0\0\0\x18ftypheic", "HEIC"), (b"\0\0\0\x1cftypavif", "AVIF")],
)
def test_unsupported_image_formats_are_named(tmp_path: Path, head: bytes, kind: str) -> None:
    (tmp_path / "x.png").write_bytes(head)
    with pytest.raises(ValueError, match=f"{kind} is not supported"):
        sr.read_image(tmp_path / "x.png")
