"""Files are written so that no reader sees half of one."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sesr_ref.files import atomic_write, sha256_of


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_appears_whole_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with atomic_write(path) as stream:
        stream.write(b"first ")
        stream.flush()
        assert not path.exists()
        stream.write(b"second")
    assert path.read_bytes() == b"first second"
    assert names(tmp_path) == ["a.bin"]


def test_an_existing_file_stays_readable_until_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with atomic_write(path) as stream:
        stream.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError(28, "No space left")])
def test_a_failure_leaves_the_old_file_and_no_other(
    tmp_path: Path, error: type[BaseException] | BaseException
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    kind = error if isinstance(error, type) else type(error)

    def fail() -> None:
        with atomic_write(path) as stream:
            stream.write(b"half of the ne")
            raise error

    with pytest.raises(kind):
        fail()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_disk_that_is_full_at_the_end_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    def write() -> None:
        with atomic_write(path) as stream:
            stream.write(b"new")

    with pytest.raises(OSError, match="No space left") as caught:
        write()
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_without_overwrite_an_existing_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with atomic_write(path, overwrite=False) as stream:
        stream.write(b"old")

    def write() -> None:
        with atomic_write(path, overwrite=False):
            raise AssertionError("the block must not run")

    with pytest.raises(FileExistsError, match=r"a\.bin exists already"):
        write()
    assert path.read_bytes() == b"old"


def test_without_overwrite_a_file_that_appears_meanwhile_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"

    def write() -> None:
        with atomic_write(path, overwrite=False) as stream:
            stream.write(b"ours")
            path.write_bytes(b"theirs")

    with pytest.raises(FileExistsError, match=r"a\.bin exists already"):
        write()
    assert path.read_bytes() == b"theirs"
    assert names(tmp_path) == ["a.bin"]


def test_the_longest_name_that_the_file_system_allows_works(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250 + ".png")
    with atomic_write(path) as stream:
        stream.write(b"x")
    assert path.read_bytes() == b"x"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_write(tmp_path / "nowhere" / "a.bin"):
            pass

    with pytest.raises(FileNotFoundError) as caught:
        write()
    assert caught.value.filename == str(tmp_path / "nowhere" / "a.bin")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_a_link_to_nothing_is_a_file_that_exists(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.symlink_to("nothing")

    def write() -> None:
        with atomic_write(path, overwrite=False):
            raise AssertionError("the block must not run")

    with pytest.raises(FileExistsError, match=r"a\.bin exists already"):
        write()


def test_a_folder_cannot_be_written_as_a_file(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_write(tmp_path):
            raise AssertionError("the block must not run")

    with pytest.raises(IsADirectoryError, match="is a folder"):
        write()


def test_a_disk_without_hard_links_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", unsupported)
    with atomic_write(tmp_path / "a.bin", overwrite=False) as stream:
        stream.write(b"x")
    assert (tmp_path / "a.bin").read_bytes() == b"x"
    assert names(tmp_path) == ["a.bin"]


KILLED = """
import os, sys
from pathlib import Path
from sesr_ref.files import atomic_write
with atomic_write(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="needs files without a name")
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_process_that_is_killed_leaves_nothing_behind(tmp_path: Path, old: bytes | None) -> None:
    path = tmp_path / "a.bin"
    if old:
        path.write_bytes(old)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], env=environment, check=False)
    assert done.returncode == -9
    assert names(tmp_path) == (["a.bin"] if old else [])


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_system_whose_files_all_have_names_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool, old: bytes | None
) -> None:
    monkeypatch.setattr("sesr_ref.files.OPEN_FILES", tmp_path / "nowhere")
    path = tmp_path / "a.bin"
    if old and overwrite:
        path.write_bytes(old)
    with atomic_write(path, overwrite=overwrite) as stream:
        stream.write(b"new")
        assert len(names(tmp_path)) == (2 if old and overwrite else 1)
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of another kind")
def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "a.bin") as stream:
            stream.write(b"x")
    finally:
        os.umask(umask)
    assert (tmp_path / "a.bin").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("size", [0, 5, (1 << 20) - 1, 1 << 20, (2 << 20) + 3])
def test_sha256_is_of_the_whole_file(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(os.urandom(size))
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()
