"""PyTorch files that claim, nest, contradict or scramble: rejected at once, in little memory."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref.exchange import load_state_dict, save_state_dict
from sesr_ref.exchange.torch import pickle as torch_pickle
from sesr_ref.exchange.torch.pickle import read_pickle

TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nDoubleStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"


def laugh(levels: int) -> bytes:
    """A tuple of two of the one before: its text has 2 ** levels parts."""
    return b")q\x00" + b"h\x000h\x00h\x00\x86q\x00" * levels


def rejected(content: bytes) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]{1,600}$") as error:
        read_pickle(content)  # for ever, were it written out
    return str(error.value)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"Q."),  # as a persistent id
        (b"(X\x07\x00\x00\x00storage", b"h\x00h\x00h\x00tQ."),  # as parts of one
        (TENSOR, b"R."),  # as what a tensor is made of
        (TENSOR + b"(", b"h\x00h\x00h\x00h\x00tR."),
        (b"", b"h\x00\x93."),  # as a name
        (b"X\x02\x00\x00\x00os", b"\x93."),
        (b"}", b"K\x01s."),  # as a key
        (b"", b")R."),  # as what is called
        (b"", b")\x81."),
        (b"", b"}b."),
    ],
)
@pytest.mark.parametrize("levels", [3, 40, 200])
def test_a_pickle_that_doubles_is_not_written_out(before: bytes, after: bytes, levels: int) -> None:
    rejected(b"\x80\x04" + before + laugh(levels) + after)


@pytest.mark.parametrize("levels", [40, 200])
def test_a_file_of_doubling_values_is_rejected(levels: int, tmp_path: Path) -> None:
    for content in (laugh(levels), b"}X\x01\x00\x00\x00w" + laugh(levels) + b"s"):
        path = archive(tmp_path / "m.pth", b"\x80\x02" + content + b".")
        assert len(refusal(path)) < 400


def test_the_work_of_a_pickle_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_pickle, "MAX_STEPS", 1000)
    assert "more than 1000 instructions" in rejected(b"\x80\x02" + b"N" * 1001 + b".")
    # an argument tuple of many, called again and again
    many = b"(" + b"K\x00" * 400 + b"tq\x00" + (TENSOR + b"h\x00R0") * 100
    assert "with 400 arguments" in rejected(b"\x80\x02" + many + b".")


def archive(path: Path, content: bytes, numbers: int = 1) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", content)
        file.writestr("archive/data/0", b"\0" * 8 * numbers)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        load_state_dict(path)
    return str(error.value)


def tensor(size: bytes, stride: bytes, offset: bytes = b"K\x00", length: bytes = b"K\x01") -> bytes:
    view = offset + size + stride + b"\x89ccollections\nOrderedDict\n)R"
    return TENSOR + b"(" + STORAGE + length + b"tQ" + view + b"tR"


def state(*tensors: bytes) -> bytes:
    items = b"".join(
        b"X\x02\x00\x00\x00" + f"{i:02}".encode() + each for i, each in enumerate(tensors)
    )
    return b"\x80\x02}(" + items + b"u."


def test_a_stride_of_0_takes_no_memory(tmp_path: Path) -> None:
    huge = b"J\x00\x00\x00\x10\x85"  # 2 ** 28 float64
    tracemalloc.start()
    message = refusal(archive(tmp_path / "m.pth", state(tensor(huge, b"K\x00\x85"))))
    assert "00: 268435456 numbers made of 1 stored ones" in message
    some = b"J\x00\x80\x00\x00\x85"  # allowed by itself, not a hundred times
    path = archive(tmp_path / "m.pth", state(*[tensor(some, b"K\x00\x85")] * 100))
    assert "its tensors have 3276800 numbers" in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (tensor(b"K\x02\x85", b"K\x01\x85"), "size (2,) reaches beyond its 1 numbers"),
        (tensor(b"K\x01\x85", b"K\x01\x85", b"K\x05"), "reaches beyond"),
        (tensor(b"\x8a\x09" + b"\0" * 8 + b"\x01\x85", b"K\x00\x85"), "size (18446744073709551616"),
        (tensor(b"K\x01\x85", b"K\x01\x85", length=b"K\x09"), "has 8 bytes, not 9 numbers"),
        (tensor(b"K\x01K\x01\x86", b"K\x01\x85"), "a tensor of a Storage with"),
        (tensor(b"X\x01\x00\x00\x00a", b"K\x01\x85"), "a tensor of a Storage with"),
    ],
)
def test_sizes_are_checked_against_the_storage(one: bytes, message: str, tmp_path: Path) -> None:
    assert message in refusal(archive(tmp_path / "m.pth", state(one)))


def test_a_storage_is_stated_in_one_way(tmp_path: Path) -> None:
    one = tensor(b"K\x01\x85", b"K\x01\x85")
    other = one.replace(b"DoubleStorage", b"LongStorage")
    path = archive(tmp_path / "m.pth", state(one, other))
    assert "states storage '0' in two ways" in refusal(path)


def patched(path: Path, place: int, value: bytes, directory: bool) -> Path:
    """Change a field of the second member's own header, or of its entry in the directory."""
    data = bytearray(path.read_bytes())
    magic = b"PK\x01\x02" if directory else b"PK\x03\x04"
    start = data.index(magic, data.index(magic) + 1)
    data[start + place : start + place + len(value)] = value
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("place", "value", "directory", "message"),
    [
        (6, b"\x01\x00", False, "contradicts the archive's directory"),
        (8, b"\x01\x00", True, "is encrypted"),
        (8, b"\x08\x00", False, "contradicts the archive's directory"),
        (10, b"\x08\x00", True, "holds compressed members"),
        (14, b"\x01\x02\x03\x04", False, "sizes contradict the archive's directory"),
        (22, b"\x09\x00\x00\x00", False, "sizes contradict the archive's directory"),
        (24, b"\xff\xff\xff\x3f", True, "fit"),
        (0, b"PK\x07\x08", False, "contradicts the archive's directory"),
        (26, b"\x03\x00", False, ""),
        (42, b"\xff\xff\x00\x00", True, ""),
    ],
)
def test_a_zip_that_contradicts_itself_is_rejected(
    place: int, value: bytes, directory: bool, message: str, tmp_path: Path
) -> None:
    path = archive(tmp_path / "m.pth", state(tensor(b"K\x01\x85", b"K\x01\x85")))
    assert message in refusal(patched(path, place, value, directory))


def test_an_encrypted_archive_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pth", state(tensor(b"K\x01\x85", b"K\x01\x85")))
    patched(path, 8, b"\x01\x00", directory=True)
    assert "'archive/data/0' is encrypted" in refusal(patched(path, 6, b"\x01\x00", False))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_one_name_are_rejected(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pth", state())
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("archive/data/0", b"other")
    assert "holds two members of one name" in refusal(path)


def test_members_that_lie_over_each_other_are_rejected(tmp_path: Path) -> None:
    """Ten entries for one megabyte: small on the disk, large in memory."""
    path = tmp_path / "m.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data/0", b"\0" * (1 << 20))
        (info,) = file.infolist()
        for i in range(1, 10):
            other = zipfile.ZipInfo(f"archive/data/{i}")
            for key in ("CRC", "compress_size", "file_size", "header_offset"):
                setattr(other, key, getattr(info, key))
            file.filelist.append(other)
            file.NameToInfo[other.filename] = other
        file.writestr("archive/data.pkl", state())
    assert f"claims {10 << 20} bytes" in refusal(path) or "bytes, at most" in refusal(path)


@pytest.mark.parametrize("position", range(0, 900, 7))
def test_a_damaged_archive_is_rejected_or_read_as_it_was(position: int, tmp_path: Path) -> None:
    net = sr.sesr(1, 2, expand=3)
    save_state_dict(tmp_path / "m.pth", net, sr.initialise(net))
    data = bytearray((tmp_path / "m.pth").read_bytes())
    at = len(data) * position // 900
    for value in (0x00, 0x01, 0xFF):
        damaged = data[:at] + bytes([data[at] ^ value]) + data[at + 1 :]
        (tmp_path / "m.pth").write_bytes(damaged)
        with suppress(ValueError):
            back, params = load_state_dict(tmp_path / "m.pth")
            assert back == net
            np.testing.assert_array_equal(
                params["tail.project"], sr.initialise(net)["tail.project"]
            )


def old(content: bytes, *storages: tuple[bytes, bytes]) -> bytes:
    """What torch.save wrote before version 1.6."""
    head = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
    system = b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s."
    keys = b"".join(b"X" + struct.pack("<I", len(key)) + key for key, _ in storages)
    numbers = b"".join(struct.pack("<q", len(data) // 8) + data for _, data in storages)
    return head + system + content + b"\x80\x02](" + keys + b"e." + numbers


OLD = state(tensor(b"K\x02\x85", b"K\x01\x85", length=b"K\x02")).replace(b"K\x02tQ", b"K\x02NtQ")


def test_a_file_from_before_pytorch_1_6_is_read(tmp_path: Path) -> None:
    from sesr_ref.exchange.torch.state_dict import read_state_dict

    numbers = np.array([1.5, -2.0])
    (tmp_path / "m.pth").write_bytes(old(OLD, (b"0", numbers.tobytes())))
    np.testing.assert_array_equal(read_state_dict(tmp_path / "m.pth")["00"], numbers)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (old(OLD, (b"1", b"\0" * 16)), "its list of storages is not that of its tensors"),
        (old(OLD, (b"0", b"\0" * 8)), "storage '0' has 1 numbers, not 2"),
        (old(OLD, (b"0", b"\0" * 16))[:-1], "truncated: storage '0' is not all there"),
        (old(OLD.replace(b"NtQ", b"K\x01tQ"), (b"0", b"\0" * 16)), "that is no storage"),
        (old(OLD, (b"0", b"\0" * 16)).replace(b"M\xe9\x03", b"M\xe8\x03"), "an unknown version"),
        (old(b"\x80\x02cos\nsystem\n.", (b"0", b"")), "the pickle names os.system"),
    ],
)
def test_damaged_old_files_are_rejected(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.pth").write_bytes(data)
    assert message in refusal(tmp_path / "m.pth")
