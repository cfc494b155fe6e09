"""What the site makes itself: API pages from ``__all__``, texts of constants, links, an order."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer

LEVELS = (
    "enlarge_a_photograph",
    "train_and_look_at_the_curve",
    "your_own_network",
    "check_a_port_in_c",
    "cost_on_your_own_npu",
)


class ByLevel:
    """Order of the examples in the gallery: the easiest first."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, name: str) -> int:
        """Place of an example; one that is not in `LEVELS` is an error."""
        return LEVELS.index(Path(name).stem)


PACKAGES = {
    "sesr_ref": "sr",
    "sesr_ref.train": "Training",
    "sesr_ref.evaluate": "Evaluation",
    "sesr_ref.verify": "Verification",
    "sesr_ref.integers": "Integers",
    "sesr_ref.exchange": "Exchange",
    "sesr_ref.npu": "NPU cost model",
    "sesr_ref.network": "Layers",
}
"""Packages whose names are documented: module, title."""
ROOMS = {
    "architectures": "Networks",
    "layers": "Networks",
    "network": "Networks",
    "params": "Parameters",
    "train": "Parameters",
    "collapse": "Collapse",
    "engine": "Run and train",
    "execute": "Run and train",
    "ops": "Run and train",
    "images": "Images and scores",
    "evaluate": "Images and scores",
    "integers": "Integers",
    "counting": "Cost",
    "npu": "Cost",
    "verify": "Verification",
    "exchange": "Exchange",
}
"""Second part of the module that a name of `sr` comes from: its heading."""


def write_api(app: Sphinx) -> None:
    """Write a page for each package from its ``__all__``; unchanged ones keep their dates."""
    pages = Path(app.srcdir) / "api"
    pages.mkdir(exist_ok=True)
    for stale in {*pages.glob("*.rst")} - {pages / f"{package}.rst" for package in PACKAGES}:
        stale.unlink()
    for package, title in PACKAGES.items():
        module = importlib.import_module(package)
        text = _page(module, title)
        path = pages / f"{package}.rst"
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _page(module: ModuleType, title: str) -> str:
    """Headings, tables of summaries, and below each the entries."""
    whole = title == "sr"
    heading = "sr: the whole interface" if whole else f"{title}: {module.__name__}"
    lines = [heading, "=" * len(heading), "", f".. automodule:: {module.__name__}", ""]
    if whole:
        lines += ["``import sesr_ref as sr``; every name below is ``sr.name``.", ""]
    lines += [f".. currentmodule:: {module.__name__}", ""]
    for section, names in _sections(module, whole).items():
        own = [n for n in names if whole or not _is_in_sr(module, n)]
        if section:
            lines += [section, "-" * len(section), ""]
        listed = [n if n in own else f"~sesr_ref.{n}" for n in names if not _is_alias(module, n)]
        lines += [".. autosummary::", "", *(f"   {n}" for n in listed), ""]
        for name in own:
            lines += _entry(module, name)
    return "\n".join(lines)


def _sections(module: ModuleType, by_room: bool) -> dict[str, list[str]]:
    names = sorted(module.__all__, key=str.lower)
    if not by_room:
        return {"": names}
    found: dict[str, list[str]] = {heading: [] for heading in ROOMS.values()}
    for name in names:
        home = home_of(getattr(module, name), name)
        found.setdefault(ROOMS.get(home.split(".")[1], "Other"), []).append(name)
    return {heading: names for heading, names in found.items() if names}


def _is_in_sr(module: ModuleType, name: str) -> bool:
    """Whether a package's name is one of `sr` too, whose page has its entry then."""
    whole = importlib.import_module("sesr_ref")
    return name in whole.__all__ and getattr(whole, name) is getattr(module, name)


def _is_alias(module: ModuleType, name: str) -> bool:
    return hasattr(getattr(module, name), "__origin__")


def _entry(module: ModuleType, name: str) -> list[str]:
    thing = getattr(module, name)
    if _is_alias(module, name):
        return [f".. py:data:: {name}", "", f"   The type ``{thing}``.", ""]
    if inspect.isclass(thing):
        return [f".. autoclass:: {name}", "   :members:", ""]
    if inspect.isfunction(thing):
        return [f".. autofunction:: {name}", ""]
    options = ["   :no-value:", ""] if len(repr(thing)) > 200 else [""]
    return [f".. autodata:: {name}", *options]


def home_of(thing: object, name: str) -> str:
    """Module in which a name is defined: a function's own, a constant's by its source."""
    if inspect.isclass(thing) or inspect.isfunction(thing):
        return thing.__module__
    for module in [m for key, m in sys.modules.items() if key.startswith("sesr_ref.")]:
        if vars(module).get(name) is thing and re.search(
            rf"^{name}\b[^=\n(]*=", inspect.getsource(module), re.MULTILINE
        ):
            return module.__name__
    raise LookupError(f"no module of sesr_ref defines {name}")


def document_constants(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Give a constant the text that follows it in its source, not its class's docstring."""
    if what != "data":
        return
    short = name.rpartition(".")[2]
    try:
        home = home_of(thing, short)
        lines[:] = ModuleAnalyzer.for_module(home).find_attr_docs()["", short]
    except (LookupError, PycodeError):
        lines[:] = [f"A {type(thing).__name__}."]


ELSEWHERE = {
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "weights": "weights/README.md",
}
"""Pages whose text is in a file outside docs/."""
LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def read_source(app: Sphinx, page: str, source: list[str]) -> None:
    """Give a page its text, and links that lead to pages: others become plain text."""
    docs = Path(app.srcdir)
    file = docs.parent / ELSEWHERE[page] if page in ELSEWHERE else docs / f"{page}.md"
    if not file.exists():  # an example or a page of the reference
        return
    if page in ELSEWHERE:
        source[0] = file.read_text("utf-8")
        app.env.note_dependency(str(file))
    parts = re.split(r"(^```.*?^```)", source[0], flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [  # what is between blocks of code
        re.sub(r"(?<!!)\[([^]]*)" + LINK.pattern, lambda m: _on_site(docs, file, *m.groups()), part)
        for part in parts[::2]
    ]
    source[0] = "".join(parts)
    if page in ELSEWHERE:  # pictures
        source[0] = source[0].replace("](docs/", "](")


def _on_site(docs: Path, file: Path, text: str, target: str, anchor: str | None) -> str:
    path = (file.parent / target).resolve()
    pages = {docs.parent / name: f"{page}.md" for page, name in ELSEWHERE.items()}
    pages[docs.parent / "examples"] = "gallery/index.rst"
    if path in pages:
        return f"[{text}]({pages[path]}{anchor or ''})"
    if docs in path.parents:
        return f"[{text}]({path.relative_to(docs)}{anchor or ''})"
    return text


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the functions above."""
    app.connect("builder-inited", write_api)
    app.connect("autodoc-process-docstring", document_constants)
    app.connect("source-read", read_source)
    return {"parallel_read_safe": True}
