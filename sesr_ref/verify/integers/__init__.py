"""Ports in integers: each layer computed anew from the port's own tensors, and faults named."""

from sesr_ref.verify.integers.judge import LayerVerdict, PortVerdict, judge_port
from sesr_ref.verify.integers.read import read_port

__all__ = ["LayerVerdict", "PortVerdict", "judge_port", "read_port"]
