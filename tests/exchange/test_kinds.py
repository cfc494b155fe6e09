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
            "is a TensorFlow graph (.pb): export the model as ONNX (models are read from",
        ),
        ("net.param", "is an ncnn model"),
        ("net.xyz", "is of a kind that is not known (models are read from .npz, .onnx"),
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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("suffix", [*LOADERS, ".bin", ""])
def test_a_pipe_or_a_device_is_not_waited_for(suffix: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"m{suffix}")
    with pytest.raises(ValueError, match=r"m[^ ]* is no regular file$"):
        sr.load_any(tmp_path / f"m{suffix}")
    (tmp_path / f"z{suffix}").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="is no regular file"):
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
