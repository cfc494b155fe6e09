"""The machine code of products of bytes, compiled for processors that need not be this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks import need_kernels, python

need_kernels()

CODE = """
import re
from llvmlite import binding, ir
from sesr_kernels.machine import host
host.HOST = host.HOSTS[{name!r}]._replace(products={products!r}, bytes={bytes!r})
from sesr_kernels.blocks import narrow, products
from sesr_kernels.machine.words import Words

def assembly(names, body):
    module = ir.Module()
    module.triple = {triple!r}
    arguments = names.split()
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * len(arguments))
    function = ir.Function(module, kind, "kernel")
    builder = ir.IRBuilder(function.append_basic_block())
    body(Words(builder), **dict(zip(arguments, function.args)))
    builder.ret_void()
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    target = binding.Target.from_triple({triple!r})
    machine = target.create_target_machine(cpu={cpu!r}, features={features!r}, opt=2)
    return machine.emit_assembly(parsed)

sums = assembly("width outs vectors rows height offset groups stride weight bias sums",
                products._products)
bytes_ = assembly("sums groups whole numbers target target_stride kind tables stride",
                  narrow._narrow_by_tables)
for pattern in {patterns!r}:
    print(len(re.findall(pattern, sums + bytes_)))
"""


@pytest.mark.parametrize(
    ("name", "products", "tables", "triple", "cpu", "features", "patterns"),
    [
        (
            "avx512",
            "vnni",
            "vbmi",
            "x86_64-unknown-linux-gnu",
            "icelake-server",
            "",
            [r"vpdpbusd\t%zmm", r"vpermt?i?2b\t.*%zmm", r"vpackuswb\t%zmm"],
        ),
        (
            "avx2",
            "vnni",
            "shuffle",
            "x86_64-unknown-linux-gnu",
            "alderlake",
            "",
            [r"vpdpbusd\t.*%ymm", r"vpshufb\t.*%ymm", r"vpackuswb\t.*%ymm"],
        ),
        (
            "avx2",
            "pairs",
            "shuffle",
            "x86_64-unknown-linux-gnu",
            "haswell",
            "",
            [r"vpmaddwd\t.*%ymm", r"vpshufb\t.*%ymm", r"vpackuswb\t.*%ymm"],
        ),
        (
            "neon",
            "dot",
            "plain",
            "aarch64-unknown-linux-gnu",
            "",
            "+neon,+dotprod",
            [r"sdot\tv\d+\.4s, v\d+\.16b, v\d+\."],
        ),
        (
            "neon",
            "plain",
            "plain",
            "aarch64-unknown-linux-gnu",
            "",
            "+neon",
            [r"mla\tv\d+\.4s"],
        ),
    ],
)
def test_products_and_tables_of_bytes_are_the_processors_instructions(
    name: str,
    products: str,
    tables: str,
    triple: str,
    cpu: str,
    features: str,
    patterns: list[str],
    tmp_path: Path,
) -> None:
    code = CODE.format(
        name=name,
        products=products,
        bytes=tables,
        triple=triple,
        cpu=cpu,
        features=features,
        patterns=patterns,
    )
    done = python(code, SESR_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = [int(count) for count in done.stdout.split()]
    assert len(found) == len(patterns)
    # at least as many as one tap of one whole block has
    assert all(count >= 8 for count in found), found


def test_products_of_bytes_follow_the_features() -> None:
    from sesr_kernels.machine.host import choose

    wide = "+avx512f,+fma,+avx2,+ssse3,+avx512bw"
    x86, arm = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
    for triple, features, expected in [
        (x86, wide + ",+avx512vnni,+avx512vbmi", ("avx512", "vnni", "vbmi")),
        (x86, wide + ",+avx512vnni", ("avx512", "vnni", "shuffle")),
        (x86, wide, ("avx512", "pairs", "shuffle")),
        (x86, "+avx512f,+fma", ("avx512", "plain", "plain")),
        (x86, "+avx2,+fma,+ssse3,+avxvnni", ("avx2", "vnni", "shuffle")),
        (x86, "+avx2,+fma,+ssse3", ("avx2", "pairs", "shuffle")),
        (x86, "+ssse3", ("sse2", "pairs", "shuffle")),
        (x86, "", ("sse2", "pairs", "pack")),
        (arm, "+neon,+dotprod", ("neon", "dot", "plain")),
        (arm, "+neon", ("neon", "plain", "plain")),
        ("riscv64-unknown-linux-gnu", "", ("scalar", "plain", "plain")),
    ]:
        host = choose(triple, features)
        assert (host.name, host.products, host.bytes) == expected
