"""Files that are no models say what they are instead."""

from __future__ import annotations

import gzip
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref.exchange.formats import LOADERS


def pointer(path: Path) -> None:
    path.write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "utf-8"
    )


def page(path: Path) -> None:
    path.write_text("\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "utf-8")


def script(path: Path) -> None:
    members(path, "m/data.pkl", "m/constants.pkl", "m/code/__torch__.py")


def members(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")


def tar(path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(__file__, "test.py")


WRITERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "lfs": (pointer, "a Git LFS pointer, not the file it stands for: fetch that with git lfs pull"),
    "page": (page, "a web page saved as a file: download the file itself"),
    "script": (
        script,
        "a TorchScript archive, which holds a program: save the module's state_dict",
    ),
    "pickle": (lambda p: p.write_bytes(pickle.dumps({"a": 1})), "a Python pickle, which may hold"),
    "hdf5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 40), "an HDF5 file"),
    "tflite": (lambda p: p.write_bytes(b"\x1c\0\0\0TFL3" + b"\0" * 40), "a TensorFlow Lite model"),
    "gzip": (lambda p: p.write_bytes(gzip.compress(b"x" * 99)), "compressed by gzip: unpack it"),
    "tar": (tar, "a tar archive: unpack it first"),
    "zip": (lambda p: members(p, "readme.txt"), "a zip archive: unpack it first"),
    "keras": (lambda p: members(p, "config.json", "model.weights.h5"), "a Keras file"),
    "program": (lambda p: members(p, "m/archive_format", "m/data.bin"), "of torch.export"),
    "picture": (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40), "a PNG picture"),
    "empty": (lambda p: p.write_bytes(b""), "an empty file"),
}


@pytest.mark.parametrize("suffix", [*LOADERS, ".bin"])
@pytest.mark.parametrize("kind", WRITERS)
def test_the_kind_is_named_whatever_the_file_is_called(
    kind: str, suffix: str, tmp_path: Path
) -> None:
    if suffix in (".onnx", ".safetensors"):
        pytest.importorskip(suffix[1:], reason="needs the extra onnx")
    write, words = WRITERS[kind]
    path = tmp_path / f"m{suffix}"
    write(path)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        sr.load_any(path)
    assert str(error.value).startswith(str(path))
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "frozen.pb",
            "is a TensorFlow graph (.pb): export the model as ONNX (supported: .npz, .onnx",
        ),
        ("net.param", "is an ncnn model"),
        ("net.xyz", "is in an unknown format (supported: .npz, .onnx"),
    ],
)
def test_kinds_that_only_the_name_tells(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x0a\x10graph def of something")
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        sr.load_any(tmp_path / name)
    assert words in str(error.value)


@pytest.mark.parametrize("suffix", [".bin", ".model", ""])
@pytest.mark.parametrize("kind", [".npz", ".pth", ".safetensors"])
def test_a_model_with_another_name_is_known_by_its_content(
    kind: str, suffix: str, tmp_path: Path
) -> None:
    if kind == ".safetensors":
        pytest.importorskip("safetensors", reason="needs the extra onnx")
    from sesr_ref.exchange.formats import SAVERS

    net = sr.sesr(1, 3, expand=4)
    SAVERS[kind](tmp_path / f"m{kind}", net, sr.initialise(net), "sesr-ref", True)
    (tmp_path / f"m{kind}").rename(tmp_path / f"renamed{suffix}")
    assert sr.load_any(tmp_path / f"renamed{suffix}")[0] == net


@pytest.mark.parametrize("suffix", [".bin", ".pth", ""])
def test_an_onnx_model_is_known_by_its_content(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the extra onnx")
    net = sr.collapsed(sr.sesr(1, 3))
    sr.to_onnx(tmp_path / "m.onnx", net, sr.initialise(net))
    path = (tmp_path / "m.onnx").rename(tmp_path / f"m{suffix}")
    if suffix == ".pth":
        with pytest.raises(ValueError, match="not a PyTorch file but an ONNX model"):
            sr.load_any(path)
    else:
        assert sr.load_any(path)[0].layers == net.layers
    path.write_bytes(b"\x08\x01\x12\x05saved_model")  # TensorFlow's begins nearly so
    with pytest.raises(ValueError, match=r"\.pb\)|unknown format|not a PyTorch file"):
        sr.load_any(path)


@pytest.mark.parametrize("suffix", [*LOADERS, ".bin"])
def test_a_link_that_leads_nowhere_is_named_with_its_target(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    path.symlink_to("blobs/0a1b")
    with pytest.raises(FileNotFoundError, match=r"is a link to blobs/0a1b, which does not exist$"):
        sr.load_any(path)


def test_a_link_into_a_folder_of_blobs_is_read_by_the_links_name(tmp_path: Path) -> None:
    """As model hubs lay out their caches."""
    from sesr_ref.exchange.formats import SAVERS

    net = sr.sesr(1, 3, expand=4)
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshots" / "main").mkdir(parents=True)
    for suffix in (".npz", ".pth"):
        SAVERS[suffix](tmp_path / f"m{suffix}", net, sr.initialise(net), "sesr-ref", True)
        (tmp_path / f"m{suffix}").rename(tmp_path / "blobs" / "4d7a")
        link = tmp_path / "snapshots" / "main" / f"model{suffix}"
        link.symlink_to("../../blobs/4d7a")
        assert sr.load_any(link)[0] == sr.load_any(tmp_path / "blobs" / "4d7a")[0] == net


@pytest.mark.parametrize("suffix", [".npz", ".pth"])
def test_an_archive_whose_offsets_are_outside_the_file_is_damaged(
    suffix: str, tmp_path: Path
) -> None:
    from sesr_ref.exchange.formats import SAVERS

    net = sr.sesr(1, 3, expand=4)
    path = tmp_path / f"m{suffix}"
    SAVERS[suffix](path, net, sr.initialise(net), "sesr-ref", True)
    data = path.read_bytes()
    shorter = data[:100] + data[150:]  # the directory states places behind those that there are
    path.write_bytes(shorter)
    with pytest.raises(ValueError, match=r"^[^\n]*m\.\w+: [^\n]+$"):
        sr.load_any(path)
    end = data.rindex(b"PK\x05\x06")  # the directory's own place, 4 GiB ahead
    path.write_bytes(data[: end + 16] + b"\xff\xff\xff\x7f" + data[end + 20 :])
    with pytest.raises(ValueError, match=r"^[^\n]*m\.\w+: [^\n]+$"):
        sr.load_any(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("suffix", [*LOADERS, ".bin", ""])
def test_a_pipe_or_a_device_is_not_waited_for(suffix: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"m{suffix}")
    with pytest.raises(ValueError, match=r"m[^ ]* is not a regular file$"):
        sr.load_any(tmp_path / f"m{suffix}")
    (tmp_path / f"z{suffix}").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="is not a regular file"):
        sr.load_any(tmp_path / f"z{suffix}")


def test_an_npz_of_a_state_dict_is_read(tmp_path: Path, rng: np.random.Generator) -> None:
    net = sr.collapsed(sr.sesr(3, 5, 2))
    params = {k: rng.normal(0, 1, s).astype("f4") for k, s in net.param_shapes().items()}
    from sesr_ref.exchange.state import to_state

    state = to_state(net, params, "torch")
    named: dict[str, Any] = {f"net.{name}": array for name, array in state.items()}
    np.savez(tmp_path / "m.npz", **named)
    back, got = sr.load_any(tmp_path / "m.npz")
    assert [la.name for la in back.layers] == [la.name for la in net.layers]
    np.testing.assert_array_equal(got["head.weight"], params["head.weight"])
    np.savez(tmp_path / "p.npz", state=np.array({"a": 1}, object))
    with pytest.raises(ValueError, match="a pickle"):
        sr.load_any(tmp_path / "p.npz")
