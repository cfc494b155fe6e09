"""What the compiler's target can do, and the register blocks that follow from it.

Read once, from the target that Numba really compiles for, so that ``NUMBA_CPU_NAME`` and
``NUMBA_CPU_FEATURES`` choose the same path here as in the machine code.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from llvmlite import binding
from numba.core.registry import cpu_target


class Host(NamedTuple):
    """One instruction set: lanes of a vector, and how many accumulators fill its registers."""

    name: str
    lanes: int
    outs: int
    vectors: int
    fused: bool
    products: str = "plain"
    """How four products of bytes are added to a word: "vnni" and "dot" (NEON) by one instruction,
    "pairs" by two of pairs of 16 bits, "plain" one by one."""
    bytes: str = "plain"
    """What narrows words to bytes and looks bytes up: "vbmi" narrows and has tables of 128 bytes,
    "shuffle" narrows and has tables of 16, "pack" narrows, "plain" does neither at once."""

    @property
    def tile(self) -> int:
        """Pixels of a whole register block."""
        return self.lanes * self.vectors

    @property
    def thin(self) -> int:
        """Outputs of the blocks of a convolution that has no more: four, as x2 ends in."""
        return min(self.outs, 4)

    def vectors_of(self, outs: int) -> int:
        """Vectors of whole blocks of bytes: thin ones are wider, to fill as many registers."""
        return self.vectors * self.outs // outs

    @property
    def narrow(self) -> int:
        """Vectors of the blocks at the end of a row that whole ones do not fill."""
        return self.vectors - 1

    def blocks(self, features: int) -> int:
        """Outputs of a convolution's blocks."""
        return self.thin if features <= self.thin else self.outs


# `outs` x `vectors` accumulators and the operands beside them must fit the register file:
# 32 registers with AVX-512 and NEON, 16 with AVX2 and SSE2; whole blocks of fewer than 8 would
# wait for latency.
HOSTS = {
    "avx512": Host("avx512", 16, 8, 3, fused=True),
    "avx2": Host("avx2", 8, 4, 3, fused=True),
    "neon": Host("neon", 4, 4, 6, fused=True),
    "sse2": Host("sse2", 4, 4, 2, fused=False),
    "scalar": Host("scalar", 1, 4, 2, fused=False),
}


def choose(triple: str, features: str) -> Host:
    """The widest instruction set that `features` (LLVM's ``+avx2,-avx512f,...``) allow."""
    has = {feature[1:] for feature in features.split(",") if feature.startswith("+")}
    if {"avx512f", "fma"} <= has:
        return _with_integers(HOSTS["avx512"], has, "avx512vnni", "avx512bw")
    if {"avx2", "fma"} <= has:
        return _with_integers(HOSTS["avx2"], has, "avxvnni", "avx2")
    if triple.startswith(("aarch64", "arm64")):
        return HOSTS["neon"]._replace(products="dot" if "dotprod" in has else "plain")
    if triple.startswith("x86_64"):
        return _with_integers(HOSTS["sse2"], has, "", "")
    return HOSTS["scalar"]


def _with_integers(host: Host, has: set[str], products: str, narrowing: str) -> Host:
    """What an x86 processor has for bytes, if a feature narrows vectors of its width at all."""
    if narrowing and narrowing not in has:
        return host
    table = "vbmi" if narrowing == "avx512bw" and "avx512vbmi" in has else "shuffle"
    return host._replace(
        products="vnni" if products in has else "pairs",
        bytes=table if "ssse3" in has or narrowing else "pack",
    )


HOST = choose(binding.get_process_triple(), cpu_target.target_context.codegen().magic_tuple()[2])


def second_level_cache() -> int:
    """Bytes of a processor's own second-level cache; 1 MB if the system does not say."""
    try:
        size = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text(encoding="ascii")
        return int(size.strip().removesuffix("K")) << 10
    except (OSError, ValueError):
        return 1 << 20
