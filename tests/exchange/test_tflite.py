"""Int8 networks as .tflite files: written, read back, run by LiteRT, and rejected when damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref import network as nw
from sesr_ref.exchange.tflite import from_tflite, to_tflite
from sesr_ref.integers import Grid, calibrate, quantize, run_int

Quantized = tuple[nw.Network, Any, Any, Any]
NETWORKS = {
    "prelu": lambda: sr.sesr(2, 4, expand=8),
    "relu": lambda: sr.sesr(2, 4, expand=8, activation="relu", input_residual=False),
    "x4": lambda: sr.sesr(1, 4, 4, expand=8),
    "biased": lambda: sr.sesr(1, 4, expand=8, block_bias="true"),
    "depthwise": lambda: nw.Network(
        "d",
        2,
        1,
        (
            nw.Conv("a", 4, 3),
            nw.ReLU("r"),
            nw.Conv("b", 8, 3, 4, bias=True),
            nw.Concat("c", inputs=("b", "b")),
            nw.Conv("e", 4, (1, 3)),
            nw.DepthToSpace("s", 2),
        ),
    ),
}


def quantized(name: str) -> Quantized:
    rng = np.random.default_rng(4)
    net = NETWORKS[name]()
    params = {
        key: rng.normal(0, 0.3, shape).astype(np.float32)
        for key, shape in net.param_shapes().items()
    }
    q = calibrate(net, params, [rng.random((1, 12, 14, 1), np.float32)])
    codes = rng.integers(-128, 128, (1, 9, 11, 1)).astype(np.int8)
    return net, quantize(net, params, q), q, codes


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shuffle", ["depth_to_space", "transpose_conv"])
def test_a_file_that_was_written_reads_back_as_the_same_integers(
    name: str, shuffle: str, tmp_path: Path
) -> None:
    net, iparams, q, codes = quantized(name)
    path = tmp_path / "m.tflite"
    to_tflite(path, net, iparams, q, 9, 11, shuffle)
    back, back_params, back_q = from_tflite(path)
    assert back.upscale == net.upscale
    for arithmetic in ("tflite", "litert"):
        np.testing.assert_array_equal(
            run_int(back, back_params, back_q, codes, arithmetic),
            run_int(net, iparams, q, codes, arithmetic),
        )


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shuffle", ["depth_to_space", "transpose_conv"])
@pytest.mark.parametrize(
    ("resolver", "arithmetic"),
    [
        ("BUILTIN_REF", "tflite"),
        ("BUILTIN_WITHOUT_DEFAULT_DELEGATES", "ruy"),
        ("AUTO", "litert"),
    ],
)
def test_litert_makes_the_same_integers(
    name: str, shuffle: str, resolver: str, arithmetic: str, tmp_path: Path
) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    net, iparams, q, codes = quantized(name)
    path = tmp_path / "m.tflite"
    to_tflite(path, net, iparams, q, 9, 11, shuffle)
    kind = getattr(interpreter.OpResolverType, resolver)
    litert = interpreter.Interpreter(
        model_content=path.read_bytes(), experimental_op_resolver_type=kind
    )
    litert.allocate_tensors()
    litert.set_tensor(litert.get_input_details()[0]["index"], codes)
    litert.invoke()
    got = litert.get_tensor(litert.get_output_details()[0]["index"])
    np.testing.assert_array_equal(got, run_int(net, iparams, q, codes, arithmetic))


def test_what_tflites_integers_lack_is_rejected_by_name(tmp_path: Path) -> None:
    net, iparams, q, _ = quantized("prelu")
    path = tmp_path / "m.tflite"
    with pytest.raises(ValueError, match="shuffle must be one of"):
        to_tflite(path, net, iparams, q, shuffle="pixel")
    with pytest.raises(ValueError, match=r"head: a \.tflite needs 8 bits"):
        to_tflite(path, net, iparams, q.with_tensors(head=Grid(0.1, 0, 16)))
    other = nw.Network("n", 1, 1, (nw.Conv("a", 1, 3), nw.Sigmoid("b")))
    rng = np.random.default_rng(0)
    params = {"a.weight": rng.normal(0, 1, (3, 3, 1, 1)).astype(np.float32)}
    grids = calibrate(other, params, [rng.random((1, 8, 8, 1), np.float32)])
    with pytest.raises(ValueError, match="b: TFLite's integers have no Sigmoid"):
        to_tflite(path, other, quantize(other, params, grids), grids)
    assert not path.exists()


def test_files_that_are_damaged_are_rejected_in_one_line(tmp_path: Path) -> None:
    net, iparams, q, _ = quantized("relu")
    path = tmp_path / "m.tflite"
    to_tflite(path, net, iparams, q, 9, 11)
    data, rng = path.read_bytes(), np.random.default_rng(1)
    (tmp_path / "text.tflite").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.tflite: is no file of kind TFL3"):
        from_tflite(tmp_path / "text.tflite")
    damaged = tmp_path / "damaged.tflite"
    messages = []
    for _ in range(400):
        changed = bytearray(data[: int(rng.integers(8, len(data) + 1))])
        for _ in range(int(rng.integers(0, 4))):
            changed[int(rng.integers(8, len(changed)))] = int(rng.integers(256))
        damaged.write_bytes(changed)
        try:
            from_tflite(damaged)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 200
    assert max(map(len, messages)) < 500
    assert not any("\n" in message for message in messages)
