"""Functions between bytes of images and integers of grids."""

from __future__ import annotations

from typing import Any

import numpy as np

from sesr_ref.exchange.c import text
from sesr_ref.exchange.c.term import plus


def mapping(name: str, argument: str, variable: str, c_type: str, values: Any, first: int) -> str:
    """A function from a range of integers: a difference where it is one, else a table."""
    offsets = np.unique(values - (np.arange(len(values)) + first))
    if len(offsets) == 1:
        return f"""\
static {c_type} {name}({argument})
{{
    return ({c_type})({variable}{plus(int(offsets[0]))});
}}
"""
    return f"""\
static {c_type} {name}({argument})
{{
    static const {c_type} table[{len(values)}] = {{
{text.block(text.wrapped([text.whole(v) for v in values]))}
    }};
    return table[{variable}{plus(-first)}];
}}
"""
