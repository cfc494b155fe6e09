"""PyTorch files are read without torch and without executing what they say."""

from __future__ import annotations

import argparse
import collections
import datetime
import pickle
import struct
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import sesr_ref as sr
from aimet import aimet_state
from sesr_ref.exchange import load_state_dict, save_state_dict
from sesr_ref.exchange.torch.pickle import read_pickle
from sesr_ref.exchange.torch.plain import Storage, Tensor
from sesr_ref.exchange.torch.state_dict import read_state_dict
from sesr_ref.exchange.torch.tensors import WRAPPERS

Array = npt.NDArray[Any]

# What torch.save writes for one float32 tensor of shape (2, 3) under the name "w".
TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQK\x00K\x02K\x03\x86K\x03K\x01\x86\x89"
    b"ccollections\nOrderedDict\n)RtR"
)
STATE = b"\x80\x02ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00w" + TENSOR + b"u."
NUMBERS = np.arange(6, dtype="<f4")


def archive(path: Path, content: bytes, data: bytes = NUMBERS.tobytes(), **members: bytes) -> Path:
    """A PyTorch archive made by hand."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", content)
        file.writestr("archive/data/0", data)
        for name, value in members.items():
            file.writestr(f"archive/{name}", value)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        load_state_dict(path)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value)


def test_a_tensor_is_read_from_its_storage(tmp_path: Path) -> None:
    got = read_state_dict(archive(tmp_path / "m.pth", STATE))
    assert list(got) == ["w"]
    np.testing.assert_array_equal(got["w"], NUMBERS.reshape(2, 3))


BODY = STATE.removeprefix(b"\x80\x02").removesuffix(b".")


def keyed(**values: bytes) -> bytes:
    """A dictionary of pickled values."""
    items = (b"X" + struct.pack("<I", len(k)) + k.encode() + v for k, v in values.items())
    return b"}(" + b"".join(items) + b"u"


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_state_below_a_usual_key_is_found(wrapper: str, tmp_path: Path) -> None:
    for content in (
        keyed(**{wrapper: BODY}),
        keyed(epoch=b"K\x07", best=TENSOR, optimizer=keyed(), **{wrapper: BODY}),
        keyed(checkpoint=b"N", model=keyed(**{wrapper: BODY})),
        keyed(**({"params_ema": keyed(rate=b"K\x01")} | {wrapper: BODY})),
    ):
        got = read_state_dict(archive(tmp_path / "m.pth", b"\x80\x02" + content + b"."))
        assert list(got) == ["w"]


def test_averaged_weights_come_first(tmp_path: Path) -> None:
    other = BODY.replace(b"\x01\x00\x00\x00w", b"\x01\x00\x00\x00v")
    content = keyed(params=other, params_ema=BODY)
    assert list(read_state_dict(archive(tmp_path / "m.pth", b"\x80\x02" + content + b"."))) == ["w"]


def test_counters_beside_tensors_are_left_out(tmp_path: Path) -> None:
    content = keyed(w=TENSOR, epoch=b"K\x07", name=b"X\x01\x00\x00\x00a", none=b"N")
    path = archive(tmp_path / "m.pth", b"\x80\x02" + content + b".")
    assert list(read_state_dict(path)) == ["w"]
    content = keyed(w=TENSOR, groups=b"]")
    path = archive(tmp_path / "m.pth", b"\x80\x02" + content + b".")
    assert "its entry 'groups' is a list, not a tensor" in refusal(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_scores_and_options_in_a_checkpoint_hold_no_code(protocol: int, tmp_path: Path) -> None:
    beside = {
        "args": argparse.Namespace(lr=0.1, sizes=[1, 2]),
        "best": np.float64(31.5),
        "counts": collections.Counter("abba"),
        "logs": collections.defaultdict(int, {"a": 1}),
        "state": np.random.RandomState(1).get_state(),
        "begun": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
        "folder": PurePosixPath("runs/a"),
    }
    for value in beside.values():
        content = pickle.dumps(value, protocol)
        if protocol > 2:  # older ones call other functions for the same
            read_pickle(content)
    if protocol == 2:
        inner = pickle.dumps(beside["best"], 2).removeprefix(b"\x80\x02").removesuffix(b".")
        data = b"\x80\x02" + keyed(best=inner, state_dict=BODY) + b"."
        assert list(read_state_dict(archive(tmp_path / "m.pth", data))) == ["w"]


def test_strides_offsets_and_byte_order_are_honoured(tmp_path: Path) -> None:
    turned = STATE.replace(
        b"K\x00K\x02K\x03\x86K\x03K\x01\x86", b"K\x01K\x02K\x02\x86K\x01K\x03\x86"
    )
    big = NUMBERS.astype(">f4").tobytes()
    path = archive(tmp_path / "m.pth", turned, big, byteorder=b"big")
    np.testing.assert_array_equal(read_state_dict(path)["w"], [[1, 4], [2, 5]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_comes_back_as_it_was(dtype: str, tmp_path: Path) -> None:
    net = sr.fsrcnn(3, features=5, shrink=3, maps=1)
    rng = np.random.default_rng(3)
    params = {k: rng.normal(size=s).astype(dtype) for k, s in net.param_shapes().items()}
    save_state_dict(tmp_path / "m.pth", net, params)
    back, got = sr.load_any(tmp_path / "m.pth")
    assert back == net
    for name, array in params.items():
        assert got[name].dtype == dtype
        np.testing.assert_array_equal(got[name], array)


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    net = sr.sesr(1, 3, expand=4)
    for name in ("a.pth", "b.pth"):
        save_state_dict(tmp_path / name, net, sr.initialise(net))
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_torch_saves_is_read(protocol: int, tmp_path: Path, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    state = {k: torch.tensor(v) for k, v in aimet_state(rng, 2, 2, 4, 6).items()}
    state["model.conv_first.conv_squeeze.bias"] = torch.nn.Parameter(
        state["model.conv_first.conv_squeeze.bias"]
    )
    checkpoint = {"epoch": 3, "state_dict": collections.OrderedDict(state), "lr": [0.1, None]}
    torch.save(checkpoint, tmp_path / "m.pth", pickle_protocol=protocol)
    net, params = load_state_dict(tmp_path / "m.pth")
    assert net.channels == 3
    weight = state["model.conv_last.conv_expand.weight"].numpy().transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(params["tail.expand"], weight)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64", "int64"])
def test_torchs_types_and_views_are_read(kind: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    tensor = torch.arange(24).reshape(2, 3, 4).to(getattr(torch, kind)).transpose(0, 2)[1:, ::2]
    torch.save({"w": tensor, "one": tensor[0, 0, 0], "none": tensor[:0]}, tmp_path / "m.pth")
    got = read_state_dict(tmp_path / "m.pth")
    for name, expected in (("w", tensor), ("one", tensor[0, 0, 0]), ("none", tensor[:0])):
        np.testing.assert_array_equal(got[name], expected.to(torch.float64).numpy())


def test_torch_reads_what_is_saved(tmp_path: Path, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    net = sr.sesr(2, 4, 2, expand=6, block_bias="true")
    params = {k: rng.normal(size=s).astype("f4") for k, s in net.param_shapes().items()}
    save_state_dict(tmp_path / "m.pth", net, params, "torch")
    state = torch.load(tmp_path / "m.pth", weights_only=True)
    conv = torch.nn.Conv2d(1, 6, 5)
    conv.load_state_dict({k: state[f"head.expand.{k}"] for k in ("weight", "bias")})
    expected = params["head.expand"].transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(conv.weight.detach().numpy(), expected)
    save_state_dict(tmp_path / "own.pth", net, params)
    own = torch.load(tmp_path / "own.pth", weights_only=True)
    assert bytes(own.pop("network.json").numpy()).decode() == net.to_json()
    assert own.keys() == params.keys()


class Attack:
    """Unpickling it would make a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_code_is_named_and_not_executed(protocol: int, tmp_path: Path) -> None:
    target = tmp_path / "executed"
    content = pickle.dumps({"w": Attack(target)}, protocol)
    message = refusal(archive(tmp_path / "m.pth", content))
    assert "rejected: the pickle names" in message
    assert "getattr" in message or "Path" in message
    assert not target.exists()
    pickle.loads(content)  # it is an attack indeed
    assert target.exists()


GLOBAL = b"\x80\x02c%s\n%s\n(X\x02\x00\x00\x00idtR."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GLOBAL % (b"os", b"system"), "the pickle names os.system"),
        (GLOBAL % (b"builtins", b"eval"), "the pickle names builtins.eval"),
        (GLOBAL % (b"torch", b"load"), "the pickle names torch.load"),
        (GLOBAL % (b"torch._utils", b"_rebuild_qtensor"), "names torch._utils._rebuild_qtensor"),
        (GLOBAL % (b"torch", b"FloatStorage"), "the pickle calls torch.FloatStorage"),
        (GLOBAL % (b"collections", b"OrderedDict"), "an OrderedDict made of something"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "the pickle names os.system"),
        (b"(S'id'\nios\nsystem\n.", "pickle opcode STRING at byte 1"),
        (b"(ios\nsystem\n.", "pickle opcode INST at byte 1"),
        (b"\x80\x02(cos\nsystem\no.", "the pickle names os.system"),
        (b"\x80\x02\x82\x01.", "pickle opcode EXT1 at byte 2"),
        (b"\x80\x02)\x81.", "pickle opcode NEWOBJ at byte 3"),
        (b"\x80\x02Pid\n.", "pickle opcode PERSID at byte 2"),
        (b"\x80\x02K\x01Q.", "a persistent id 1 that is no storage"),
        (b"\x80\x02K\x01K\x02R.", "the pickle calls something that is no allowed name"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.", "sets the state of an object"),
        (b"\x80\x02K\x01}b.", "sets the state of an object"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "a tensor made of 0 value(s)"),
        (b"\x80\x02ctorch._utils\n_rebuild_parameter\nK\x01\x85R.", "a parameter that is"),
        (b"\x80\x02K\x01K\x02s.", "takes more values than there are"),
        (b"\x80\x02}(K\x01u.", "sets items of something"),
        (b"\x80\x02}]K\x01s.", "is a list of 0, neither text nor a number"),
        (b"\x80\x02K\x01K\x02a.", "appends to something that is no list"),
        (b"\x80\x02t.", "has no mark"),
        (b"\x80\x02h\x07.", "BINGET"),
        (b"\x80\x02.", "takes more values than there are"),
        (b"\x80\x02}", "pickle exhausted before seeing STOP"),
        (b"\x80\x02X\xff\xff\xff\x7fab.", "expected 2147483647 bytes"),
        (b"", "pickle exhausted before seeing STOP"),
        (b"\x80\x02K\x01.", "holds 1, not a state dict"),
        (b"\x80\x02}X\x01\x00\x00\x00wK\x01s.", "its entry 'w' is a int, not a tensor"),
        (b"\x80\x02}.", "the file has no parameters"),
        (STATE.replace(b"K\x02K\x03\x86K\x03K\x01", b"K\x03K\x03\x86K\x03K\x01"), "reaches beyond"),
        (STATE.replace(b"K\x02K\x03\x86K\x03", b"J\xff\xff\xff\x7fK\x03\x86K\x00"), "made of 6"),
        (STATE.replace(b"K\x02K\x03\x86K\x03", b"J\xff\xff\xff\xffK\x03\x86K\x00"), "a tensor of"),
        (STATE.replace(b"K\x06tQ", b"K\x07tQ"), "has 24 bytes, not 7 numbers"),
        (STATE.replace(b"\x00\x00\x000X", b"\x00\x00\x001X"), "no 'archive/data/1'"),
        (STATE.replace(b"storage", b"STORAGE"), "that is no storage"),
    ],
)
def test_hostile_and_damaged_pickles_are_rejected(
    content: bytes, message: str, tmp_path: Path
) -> None:
    assert message in refusal(archive(tmp_path / "m.pth", content))


@pytest.mark.parametrize("position", range(len(STATE)))
def test_a_damaged_pickle_never_ends_in_anything_but_an_error_or_values(position: int) -> None:
    for value in (0x00, 0x2E, 0x52, 0x62, 0xFF):
        damaged = bytearray(STATE)
        damaged[position] = value
        try:
            message = repr(read_pickle(bytes(damaged)))
        except ValueError as error:
            message = str(error)
        assert "\n" not in message


def test_a_pickle_is_read_into_plain_values() -> None:
    tensor = Tensor(Storage("0", "f4", 6), 0, (2, 3), (3, 1))
    assert read_pickle(STATE) == {"w": tensor}
    plain = {"a": [1, 2.5, None, True], "b": ("x", 1 << 40), 3: {}}
    for protocol in (2, 3, 4, 5):
        assert read_pickle(pickle.dumps(plain, protocol)) == plain


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a PyTorch file but an empty file"),
        (b"PK\x03\x04", "not a PyTorch file, or truncated"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "pickle exhausted before seeing STOP"),
        (b"\0" * 100, "not a PyTorch file, or truncated"),
    ],
)
def test_other_files_are_rejected(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.pth").write_bytes(data)
    assert message in refusal(tmp_path / "m.pth")


def test_a_truncated_file_is_rejected(tmp_path: Path) -> None:
    net = sr.sesr(1, 3, expand=4)
    save_state_dict(tmp_path / "m.pth", net, sr.initialise(net))
    data = (tmp_path / "m.pth").read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        (tmp_path / "m.pth").write_bytes(data[: int(share * len(data))])
        assert "truncated" in refusal(tmp_path / "m.pth")


def test_a_damaged_member_is_rejected(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pth", STATE)
    data = path.read_bytes()
    at = data.index(NUMBERS.tobytes())
    path.write_bytes(data[:at] + b"\x01" + data[at + 1 :])
    assert "CRC" in refusal(path)


def test_few_numbers_are_not_repeated_into_many(tmp_path: Path) -> None:
    repeated = TENSOR.replace(b"K\x02K\x03\x86K\x03K\x01", b"J\0\0\0\x08K\x01\x86K\0K\0")
    names = (b"X\x01\x00\x00\x00" + name + repeated for name in (b"a", b"b", b"c"))
    content = b"\x80\x02}(" + b"".join(names) + b"u."
    message = refusal(archive(tmp_path / "m.pth", content))
    assert f"a: {1 << 27} numbers made of 6 stored ones" in message


def test_compressed_members_are_rejected(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", STATE)
    assert "holds compressed members" in refusal(tmp_path / "m.pth")


def test_there_must_be_one_pickle(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pth", "w") as file:
        for i in range(2):
            file.writestr(f"archive{i}/data.pkl", STATE)
    assert "has one data.pkl, this has 2" in refusal(tmp_path / "m.pth")


def test_a_byte_order_that_is_none_is_rejected(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pth", STATE, byteorder=b"middle")
    assert "byte order b'middle' is neither" in refusal(path)


def test_an_existing_file_is_kept_and_nothing_is_half_written(tmp_path: Path) -> None:
    net = sr.sesr(1, 3, expand=4)
    (tmp_path / "m.pth").write_text("mine")
    with pytest.raises(FileExistsError):
        save_state_dict(tmp_path / "m.pth", net, sr.initialise(net), overwrite=False)
    assert [p.name for p in tmp_path.iterdir()] == ["m.pth"]
    assert (tmp_path / "m.pth").read_text() == "mine"
