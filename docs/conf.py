"""Sphinx: the pages of docs/, an API reference from the docstrings, the examples as a gallery.

`make docs` builds it offline and fails on a warning.  What is written at build (docs/api/,
docs/gallery/, docs/_build/) is ignored by git.
"""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [
    str(DOCS / "_ext"),
    *(str(DOCS.parent / root) for root in (".", "kernels", "weights")),
]

project = "sesr_ref"
author = "The sesr_ref contributors"
version = release = installed("sesr-ref")
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "sesr_site",
]
exclude_patterns = ["_build", "_ext", "data"]
html_theme = "furo"
html_title = f"sesr_ref {version}"
html_copy_source = False
default_role = "autolink"  # `name` is a link where it can be imported, else emphasis
autodoc_typehints = "none"  # the docstrings state them, with shapes
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
myst_heading_anchors = 3
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "sesr_site.ByLevel",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,  # that page asks for scripts of other hosts
}
