"""Networks as C99 in float32: compiled, run row by row, every tensor held against the engine."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import generate
import sesr_ref as sr
from c_compiler import Array, Port, compile_c, compiler, ported, sanitizers
from networks_for_verification import every_kind, random_params
from sesr_ref import network as nw
from sesr_ref.exchange.c.write import drafted
from small_networks import CASES, SLOW, case

SIZES = ((9, 7), (1, 1), (2, 13), (1, 16), (14, 2))


def agree(port: Port, net: nw.Network, params: Any, x: Array) -> None:
    """Every tensor is within its bound of the exact one."""
    found = port.tensors(x)
    np.testing.assert_array_equal(found.pop("input"), x)
    report = sr.compare(net, params, x, found, name_fault=False)
    assert report.agrees, str(report)


def port_of(folder: Path, net: nw.Network, params: Any, *options: str) -> Port:
    return ported(folder, drafted(net, params, max_width=16), *options)


def test_every_kind_of_layer_agrees_with_the_engine(tmp_path: Path, rng: Any) -> None:
    net = every_kind()
    params = random_params(net, rng)
    port = port_of(tmp_path, net, params, "-g", *sanitizers())
    for height, width in SIZES:
        agree(port, net, params, rng.random((1, height, width, 2), np.float32))


@pytest.mark.parametrize("name", ["sesr-m5-x2", "sesr-m5-x4"])
def test_shipped_networks_agree_with_the_engine(name: str, tmp_path: Path, rng: Any) -> None:
    net, params = sr.load(name)
    port = port_of(tmp_path, net, params, "-O1")
    agree(port, net, params, rng.random((1, 21, 13, 1), np.float32))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "upscale"),
    [c for c in CASES if c[0] not in SLOW],
    ids=[p.replace("{upscale}", str(u)) for p, u in CASES if p not in SLOW],
)
def test_every_network_agrees_with_the_engine(
    pattern: str, upscale: int, tmp_path: Path, rng: Any
) -> None:
    net, params, _ = case(pattern, upscale)
    port = port_of(tmp_path, net, params, "-g", *sanitizers())
    for height, width in SIZES[:3]:
        agree(port, net, params, rng.random((1, height, width, net.channels), np.float32))


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(generate.networks(8), generate.seeds(), st.integers(1, 12), st.integers(1, 16))
def test_random_networks_agree_with_the_engine(
    tmp_path: Path, net: nw.Network, seed: int, height: int, width: int
) -> None:
    params = generate.parameters(net, seed, np.float32)
    port = port_of(tmp_path, net, params, "-g", *sanitizers())
    agree(port, net, params, generate.images((1, height, width, net.channels), seed, np.float32))


def test_names_of_tensors_need_not_be_names_in_c(tmp_path: Path, rng: Any) -> None:
    names = ["int", "width", "a b", "a_b", "0", "é*/", 'say "@_"', "x??/", "a" * 90, "line", "\\"]
    layers = tuple(nw.Conv(name, 1, 3) for name in names)
    net = nw.Network("name */ of @@_ it", 1, 1, layers)
    params = random_params(net, rng)
    agree(port_of(tmp_path, net, params), net, params, rng.random((1, 30, 5, 1), np.float32))


TWO = """
#include <stdio.h>
#include <string.h>
#include "first.h"
#include "second.h"
#include "first.h"

static first_state a, b;
static second_state c;
static float row[7], outs[3][1000][28], room[64];

static int keep(float *out, int at, int count, int width)
{
    if (count > 0)
        memcpy(out + at * width, room, sizeof *room * (size_t)(count * width));
    return at + (count > 0 ? count : 0);
}

int main(void)
{
    int n[3] = {0, 0, 0}, count;
    if (first_begin(&a, 0) != -1 || first_begin(&a, FIRST_MAX_WIDTH + 1) != -1)
        return 1;
    if (first_begin(&a, 7) || first_begin(&b, 7) || second_begin(&c, 7))
        return 2;
    if (first_finish(&a, room) != 0 || first_push_row(&a, row, room) != -1 || first_begin(&a, 7))
        return 3; /* an image without rows */
    for (int r = 0; r < 9; r++) {
        if (fread(row, sizeof *row, 7, stdin) != 7)
            return 4;
        n[0] = keep(outs[0][0], n[0], first_push_row(&a, row, room), 14);
        n[1] = keep(outs[1][0], n[1], first_push_row(&b, row, room), 14);
        n[2] = keep(outs[2][0], n[2], second_push_row(&c, row, room), 7);
    }
    while ((count = first_finish(&b, room)) > 0)
        n[1] = keep(outs[1][0], n[1], count, 14);
    while ((count = second_finish(&c, room)) > 0)
        n[2] = keep(outs[2][0], n[2], count, 7);
    while ((count = first_finish(&a, room)) > 0)
        n[0] = keep(outs[0][0], n[0], count, 14);
    if (n[0] != 18 || n[1] != 18 || n[2] != 9 || memcmp(outs[0], outs[1], sizeof outs[0]))
        return 5;
    fwrite(outs[0], sizeof(float), 18 * 14, stdout);
    fwrite(outs[2], sizeof(float), 9 * 7, stdout);
    return 0;
}
"""


def test_two_networks_with_two_images_each_run_in_one_program(tmp_path: Path, rng: Any) -> None:
    nets = sr.sesr(1, 3, expand=4), nw.Network("n", 1, 1, (nw.Conv("a", 2, 3), nw.Conv("b", 1, 1)))
    x = rng.random((1, 9, 7, 1), np.float32)
    expected = b""
    for name, net in zip(("first", "second"), nets, strict=True):
        params = random_params(net, rng)
        sr.to_c(tmp_path / f"{name}.c", net, params, prefix=name, max_width=7, header=True)
        expected += sr.run(net, params, x).tobytes()
    (tmp_path / "main.c").write_text(TWO)
    sources = [str(tmp_path / f"{name}.c") for name in ("first", "second")]
    compile_c(tmp_path / "main.c", tmp_path / "run", *sources, *sanitizers())
    made = subprocess.run([tmp_path / "run"], input=x.tobytes(), capture_output=True, check=True)
    got, wanted = (np.frombuffer(b, np.float32) for b in (made.stdout, expected))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


def test_the_state_has_the_size_that_is_stated(tmp_path: Path, rng: Any) -> None:
    net = every_kind()
    draft = drafted(net, random_params(net, rng), max_width=77)
    source = tmp_path / "size.c"
    sr.to_c(tmp_path / "net.c", net, random_params(net, rng), max_width=77)
    stated = f"sizeof(sesr_state) - 3 * sizeof(int) == {draft.state_bytes(77)}"
    source.write_text(f'#include "net.c"\nint main(void) {{ return {stated} ? 0 : 1; }}\n')
    compile_c(source, tmp_path / "size")
    assert subprocess.call([str(tmp_path / "size")]) == 0
    text = (tmp_path / "net.c").read_text()
    assert f"{draft.state_bytes(77):,} bytes for 77 columns" in text
    assert "alloc(" not in text


def test_the_header_alone_is_enough_for_callers(tmp_path: Path) -> None:
    net = sr.sesr(1, 3, expand=4)
    sr.to_c(tmp_path / "net.c", net, sr.initialise(net), header=True)
    header = (tmp_path / "net.h").read_text()
    assert header in (tmp_path / "net.c").read_text()
    (tmp_path / "use.c").write_text('#include "net.h"\n#include "net.h"\nsesr_state state;\n')
    compile_c(tmp_path / "use.c", tmp_path / "use.o", "-c")


def test_the_schedule_is_the_least_delay_that_the_layers_allow() -> None:
    net, params = sr.load("sesr-m5-x2")
    plan = drafted(net, params).plan
    assert plan.latency == 1 + 2 + 5 + 2  # the row itself, 5 x 5, five times 3 x 3, 5 x 5
    rows = {name: tensor.rows for name, tensor in plan.tensors.items()}
    assert rows["act0"] == 3
    assert rows["features"] == 5
    assert {plan.tensors[f"block{i}"].home for i in range(4)} == {f"act{i}" for i in range(4)}
    assert plan.tensors["block4"].home == plan.tensors["act4"].home == "features"


def test_what_cannot_be_written_is_rejected_in_one_line(tmp_path: Path, rng: Any) -> None:
    net = sr.sesr(1, 3, expand=4)
    params, path = sr.initialise(net), tmp_path / "net.c"
    prefixes: list[Any] = ["", "1a", "a-b", "_a", "a" * 40, None]
    for prefix in prefixes:
        with pytest.raises(ValueError, match="prefix must be a letter"):
            sr.to_c(path, net, params, prefix=prefix)
    with pytest.raises(ValueError, match="max_width must be an integer from 1"):
        sr.to_c(path, net, params, max_width=0)
    with pytest.raises(ValueError, match=r"head\.expand"):
        sr.to_c(path, net, {k: v for k, v in params.items() if k != "head.expand"})
    with pytest.raises(ValueError, match=r"without \.h"):
        sr.to_c(tmp_path / "net.h", net, params, header=True)
    two = nw.Network("two", 1, 2, (nw.Conv("a", 2, 1),))
    with pytest.raises(ValueError, match="channels of a program's images must be 1 or 3"):
        sr.to_c(path, two, random_params(two, rng), main=True)
    cut = nw.Network("cut", 1, 1, (nw.Pad("p", -3), nw.Conv("a", 1, 1), nw.Pad("q", 3)))
    with pytest.raises(ValueError, match="max_width must be at least 7"):
        sr.to_c(path, cut, random_params(cut, rng), max_width=6)
    assert not list(tmp_path.iterdir())
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        sr.to_c(path, net, params, overwrite=False)
    assert path.read_text() == "mine"


def test_images_smaller_than_a_network_takes_are_rejected(tmp_path: Path, rng: Any) -> None:
    net = nw.Network("cut", 1, 1, (nw.Pad("p", -1), nw.Conv("a", 1, 1), nw.Pad("q", 1)))
    params = random_params(net, rng)
    port = port_of(tmp_path, net, params, *sanitizers())
    agree(port, net, params, rng.random((1, 3, 3, 1), np.float32))
    for height, width, code in ((3, 2, 3), (2, 3, 5)):
        data = bytes(4 * height * width)
        run = subprocess.run(["./run", str(width)], cwd=tmp_path, input=data, check=False)
        assert run.returncode == code


def test_a_compiler_is_named_or_the_tests_are_skipped() -> None:
    assert Path(compiler()).exists()
