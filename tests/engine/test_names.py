"""The table of names: each network in it goes through every tool that needs no weights."""

from __future__ import annotations

import json

import pytest

import sesr_ref as sr
from sesr_ref.architectures import architecture, architectures
from sesr_ref.cli import main
from sesr_ref.network import Network
from sesr_ref.receptive import halo


@pytest.mark.parametrize("name", architectures())
def test_a_name_is_a_network_that_every_tool_takes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    net = architecture(name)
    assert net.name == name
    assert f"-x{net.upscale}" in name
    assert Network.from_json(net.to_json()) == net
    small = sr.collapsed(net)
    assert sr.cost(net, 20, 30).parameters == sr.cost(small, 20, 30).parameters > 0
    assert halo(net) == halo(small) > 0
    assert sr.estimate(net, 48, 64, sr.ETHOS_N78_4TOPS).latency_ms > 0
    assert main(["info", name, "--json"]) == 0
    stated = json.loads(capsys.readouterr().out)  # of a shipped name, what its file holds
    assert (stated["upscale"], stated["channels"]) == (net.upscale, net.channels)


def test_names_are_unique() -> None:
    assert len(set(architectures())) == len(architectures())
