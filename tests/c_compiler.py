"""C files compiled by the system's compiler and run on images, every row of every tensor seen."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from sesr_ref.exchange.c.draft import Draft
from sesr_ref.exchange.c.write import write_draft

Array = npt.NDArray[Any]
WARNINGS = (
    *("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow"),
    *("-Wdouble-promotion", "-Werror"),
)
SANITIZERS = ("-fsanitize=undefined,address", "-fno-sanitize-recover=all")
DTYPES = {"int8_t": np.int8, "int16_t": np.int16, "int32_t": np.int32, "float": np.float32}

HARNESS = """
#include <stdio.h>
#include <stdlib.h>

#define SESR_TRACE(name, row, values, width, channels, pitch) do { \\
    fprintf(seen, "%s\\n%d %d %d\\n", name, row, channels, width); \\
    for (int line_ = 0; line_ < (channels); line_++) \\
        fwrite((values) + line_ * (pitch), sizeof *(values), (size_t)(width), seen); \\
} while (0)
static FILE *seen;
#include "net.c"

static sesr_state state;
static SOURCE *row;
static TARGET *out;

int main(int argc, char **argv)
{
    const int width = argc == 2 ? atoi(argv[1]) : 0;
    const size_t values = (size_t)(SESR_CHANNELS * width), made = values * SESR_UPSCALE;
    row = malloc(sizeof *row * values);
    out = malloc(sizeof *out * made * SESR_UPSCALE);
    int count;
    seen = fopen("seen.bin", "wb");
    if (!row || !out || !seen || sesr_begin(&state, width))
        return 3;
    while (fread(row, sizeof *row, values, stdin) == values) {
        count = sesr_push_row(&state, row, out);
        if (count < 0 || count > SESR_UPSCALE)
            return 4;
        fwrite(out, sizeof *out, made * (size_t)count, stdout);
    }
    while ((count = sesr_finish(&state, out)) > 0)
        fwrite(out, sizeof *out, made * (size_t)count, stdout);
    fclose(seen);
    return count ? 5 : sesr_push_row(&state, NULL, NULL) == -1 ? 0 : 6;
}
"""


@functools.cache
def compiler() -> str:
    """The path of the system's compiler; skips where there is none."""
    found = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if found is None:
        pytest.skip("there is no C compiler here (cc, gcc or clang)")
    return str(found)


def compile_c(source: Path, program: Path, *options: str) -> None:
    """Compile, every warning an error."""
    command = [compiler(), *WARNINGS, *options, str(source), "-o", str(program), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[:3000]


@functools.cache
def sanitizers() -> tuple[str, ...]:
    """Options that stop a program at undefined behaviour, as far as the compiler has them."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "empty.c", Path(folder) / "empty"
        source.write_text("int main(void) { return 0; }\n")
        command = [compiler(), *SANITIZERS, str(source), "-o", str(program)]
        works = subprocess.run(command, capture_output=True, check=False).returncode == 0
        return SANITIZERS if works and subprocess.call([str(program)]) == 0 else ()


class Port(NamedTuple):
    """A compiled file."""

    folder: Path
    draft: Draft

    def tensors(self, images: Array) -> dict[str, Array]:
        """Every tensor that it makes of (1, height, width, channels) values, "input" among them."""
        draft = self.draft
        dtype = DTYPES[draft.type_of(draft.plan.tensors["input"])]
        rows = np.ascontiguousarray(images[0].transpose(0, 2, 1).astype(dtype))
        command = ["./run", str(images.shape[2])]
        done = subprocess.run(
            command, cwd=self.folder, input=rows.tobytes(), capture_output=True, check=False
        )
        assert not done.returncode, (done.returncode, done.stderr.decode()[:3000])
        tensors = self._seen((self.folder / "seen.bin").read_bytes())
        assert list(tensors)
        assert set(tensors) == set(draft.plan.tensors)
        last = tensors[draft.plan.net.output][0].transpose(0, 2, 1)
        assert done.stdout == last.tobytes()
        return tensors

    def _seen(self, data: bytes) -> dict[str, Array]:
        """Put the rows of each tensor together; they must come in order, each once."""
        rows: dict[str, list[Array]] = {}
        at = 0
        while at < len(data):
            end = data.index(b"\n", data.index(b"\n", at) + 1)
            name, numbers = data[at:end].decode().split("\n")
            row, channels, width = map(int, numbers.split())
            kind = DTYPES[self.draft.type_of(self.draft.plan.tensors[name])]
            values = np.frombuffer(data, kind, channels * width, end + 1)
            rows.setdefault(name, []).append(values.reshape(channels, width).T)
            assert row == len(rows[name]) - 1
            at = end + 1 + values.nbytes
        return {name: np.stack(found)[None] for name, found in rows.items()}


def ported(folder: Path, draft: Draft, *options: str) -> Port:
    """Write and compile a file; `options` are the compiler's."""
    write_draft(folder / "net.c", draft, False, False, True)
    (folder / "run.c").write_text(HARNESS)
    ends = draft.plan.tensors["input"], draft.plan.output
    types = [
        f"-D{key}={draft.type_of(t)}" for key, t in zip(("SOURCE", "TARGET"), ends, strict=True)
    ]
    compile_c(folder / "run.c", folder / "run", *types, *options)
    return Port(folder, draft)
