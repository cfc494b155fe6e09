"""Import paths of version 0.1 give the new modules and names, and a warning that names them."""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import sesr_ref
from sesr_ref.moved import MODULES, NAMES, REMOVED_IN, MovedFinder, install

ROOT = Path(__file__).resolve().parents[2]


def forget(old: str) -> None:
    """Undo the import of an old path."""
    parent, _, child = old.rpartition(".")
    sys.modules.pop(old, None)
    vars(importlib.import_module(parent)).pop(child, None)


@pytest.fixture(params=MODULES)
def old(request: pytest.FixtureRequest) -> Iterator[str]:
    forget(request.param)
    yield request.param
    forget(request.param)


def test_an_old_module_is_the_new_one_and_warns_where_it_is_imported(old: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"^{old} has moved to {MODULES[old]};") as caught:
        exec(compile(f"import {old}", "their_file.py", "exec"), {})
    assert [w.filename for w in caught] == ["their_file.py"]
    assert sys.modules[old] is importlib.import_module(MODULES[old])
    assert sys.modules[old].__name__ == MODULES[old]


def test_names_are_imported_from_old_modules(recwarn: pytest.WarningsRecorder) -> None:
    for name in ("metrics", "optimiser", "evaluate.windows", "peer_architectures"):
        forget(f"sesr_ref.{name}")
    warnings.simplefilter("always")
    names: dict[str, object] = {}
    exec(
        "from sesr_ref.metrics import psnr\nfrom sesr_ref.optimiser import Adam, Recipe\n"
        "from sesr_ref.evaluate.windows import Window, scaled\n"
        "from sesr_ref.peer_architectures import carn_m, lapsrn, vdsr",
        names,
    )
    assert names["psnr"] is sesr_ref.psnr
    assert names["vdsr"] is sesr_ref.vdsr
    assert len(recwarn) == 4


@pytest.mark.parametrize("module", NAMES)
def test_names_that_left_a_module_are_found_with_a_warning(module: str) -> None:
    here = importlib.import_module(module)
    for name, now in NAMES[module].items():
        message = rf"^{module}\.{name} has moved to {now}\.{name}; version {REMOVED_IN} removes"
        with pytest.warns(DeprecationWarning, match=message) as caught:
            got = getattr(here, name)
        assert got is getattr(importlib.import_module(now), name)
        assert caught[0].filename == __file__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = here.nothing


def test_no_old_path_is_in_the_way_of_a_new_one() -> None:
    for old, new in MODULES.items():
        path = ROOT.joinpath(*old.split("."))
        assert not path.with_suffix(".py").exists()
        assert not path.exists()
        assert new not in MODULES


def test_pickles_of_old_paths_are_read_and_reload_knows_the_module() -> None:
    from sesr_ref.train.optimiser import Recipe

    forget("sesr_ref.optimiser")
    written = pickle.dumps(Recipe(steps=7), protocol=0)
    former = written.replace(b"sesr_ref.train.optimiser", b"sesr_ref.optimiser")
    assert former != written
    with pytest.warns(DeprecationWarning, match="sesr_ref.train.optimiser"):
        assert pickle.loads(former) == Recipe(steps=7)
    code = (
        "import importlib, warnings\nwarnings.simplefilter('ignore')\n"
        "import sesr_ref.metrics as m\nassert importlib.reload(m) is m\n"
        "assert m.__spec__.name == 'sesr_ref.evaluate.metrics'\nimport sesr_ref, sys\n"
        "import sesr_ref.moved\nimportlib.reload(sesr_ref.moved)\nimportlib.reload(sesr_ref)\n"
        "print(sum(type(f).__name__ == 'MovedFinder' for f in sys.meta_path))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"


def test_the_finder_is_the_last_one_and_finds_nothing_else() -> None:
    before = list(sys.meta_path)
    install()
    assert sys.meta_path == before
    (finder,) = (f for f in sys.meta_path if isinstance(f, MovedFinder))
    assert finder.find_spec("sesr_ref.nothing") is None
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("sesr_ref.nothing")


def test_importing_the_package_imports_no_old_path() -> None:
    code = "import sys, sesr_ref.cli, sesr_ref.verify; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not set(done.stdout.split()) & set(MODULES)


def test_every_old_module_has_a_row_in_the_migration_page() -> None:
    page = (ROOT / "docs" / "migration.md").read_text("utf-8")
    for old, new in MODULES.items():
        assert f"| `{old}` | `{new}` |" in page
    for module, names in NAMES.items():
        for name, now in names.items():
            assert f"| `{module}.{name}` | `{now}` |" in page


def test_modules_are_modules() -> None:
    assert all(isinstance(importlib.import_module(new), ModuleType) for new in MODULES.values())
