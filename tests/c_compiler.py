"""C files compiled by the system's compiler and run on images, every row of every tensor seen."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[Any]
WARNINGS = (
    "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wdouble-promotion",
    "-Werror",
)  # fmt: skip
SANITIZERS = ("-fsanitize=undefined,address", "-fno-sanitize-recover=all")

HARNESS = """
#include <stdio.h>
#include <stdlib.h>

static FILE *seen;
#define SESR_TRACE(name, row, values, width, channels, pitch) do { \\
    fprintf(seen, "%s\\n%d %d %d\\n", name, row, channels, width); \\
    for (int line_ = 0; line_ < (channels); line_++) \\
        fwrite((values) + line_ * (pitch), sizeof *(values), (size_t)(width), seen); \\
} while (0)
#include "net.c"

static sesr_state state;

int main(int argc, char **argv)
{
    const int width = argc == 2 ? atoi(argv[1]) : 0;
    SOURCE *row = malloc(sizeof *row * SESR_CHANNELS * (size_t)width);
    TARGET *out = malloc(sizeof *out * SESR_UPSCALE * SESR_UPSCALE * SESR_CHANNELS * (size_t)width);
    const size_t values = (size_t)(SESR_CHANNELS * width), made = values * SESR_UPSCALE;
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
    free(row);
    free(out);
    return count ? 5 : 0;
}
"""


def compiler() -> str:
    """The path of the system's compiler; skips where there is none."""
    found = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if found is None:
        pytest.skip("there is no C compiler here (cc, gcc or clang)")
    return str(found)


def compiled(source: Path, program: Path, *options: str) -> None:
    """Compile, every warning an error."""
    command = [compiler(), *WARNINGS, *options, str(source), "-o", str(program), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[:3000]


@functools.cache
def sanitizers() -> tuple[str, ...]:
    """Options that stop a program at undefined behaviour, as far as the compiler has them."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "empty.c"
        source.write_text("int main(void) { return 0; }\n")
        command = [compiler(), *SANITIZERS, str(source), "-o", str(source.with_suffix(""))]
        done = subprocess.run(command, capture_output=True, check=False)
        runs = not done.returncode and not subprocess.call([str(source.with_suffix(""))])
    return SANITIZERS if runs else ()


def ran(folder: Path, images: Array, dtypes: dict[str, Any]) -> dict[str, Array]:
    """Compile ``net.c`` of a folder, run it, and return every tensor, "" being what it put out.

    Parameters
    ----------
    folder : path
        Where ``net.c`` is.
    images : (1, height, width, channels) array
        Its input.
    dtypes : dict
        The type of every tensor that the file computes, "input" among them, the output last.
    """
    names = {"int8": "int8_t", "int16": "int16_t", "int32": "int32_t", "float32": "float"}
    c_types = [names[np.dtype(dtypes[key]).name] for key in ("input", list(dtypes)[-1])]
    (folder / "run.c").write_text(HARNESS)
    options = [f"-D{key}={kind}" for key, kind in zip(("SOURCE", "TARGET"), c_types, strict=True)]
    compiled(folder / "run.c", folder / "run", "-g", "-O1", *options, *sanitizers())
    _, _height, width, channels = images.shape
    rows = np.ascontiguousarray(images[0].transpose(0, 2, 1).astype(dtypes["input"]))
    done = subprocess.run(
        ["./run", str(width)], cwd=folder, input=rows.tobytes(), capture_output=True, check=False
    )
    assert not done.returncode, done.stderr.decode()[:3000]
    tensors = _seen((folder / "seen.bin").read_bytes(), dtypes)
    out = np.frombuffer(done.stdout, dtypes[list(dtypes)[-1]])
    tensors[""] = (
        out.reshape(-1, channels, out.size // channels // _rows(tensors, dtypes)) if 0 else out
    )
    return tensors


def _rows(tensors: dict[str, Array], dtypes: dict[str, Any]) -> int:
    return len(tensors[list(dtypes)[-1]][0])


def _seen(data: bytes, dtypes: dict[str, Any]) -> dict[str, Array]:
    """Put the rows of each tensor together, which must come in order, each once."""
    rows: dict[str, list[Array]] = {}
    at = 0
    while at < len(data):
        end = data.index(b"\n", data.index(b"\n", at) + 1)
        name, numbers = data[at:end].decode().split("\n")
        row, channels, width = map(int, numbers.split())
        kind = np.dtype(dtypes[name])
        values = np.frombuffer(data, kind, channels * width, end + 1)
        rows.setdefault(name, []).append(values.reshape(channels, width).T)
        assert row == len(rows[name]) - 1
        at = end + 1 + values.nbytes
    return {name: np.stack(found)[None] for name, found in rows.items()}
