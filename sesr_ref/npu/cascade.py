"""The "future" estimate of Arm's library: passes that fit together skip the DRAM.

What lies behind the DRAM bytes of Table 3, quirks included; see `cascade`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sesr_ref.npu.hardware import Npu
from sesr_ref.npu.traffic import Moved, Traffic


def cascade(rows: Sequence[Traffic], npu: Npu) -> None:
    """Apply Arm's "future" estimate to the passes, in place.

    A section of passes grows while the bytes on chip fit the SRAM: a share of each input, and the
    weights.  What lies between two of them costs nothing.  Two quirks are kept, since Table 3 rests
    on them: the pass that ends a section never starts the next one, and closing a section drops
    its last member's input even where that is the section's only pass.  So at 1080p, where no two
    passes fit together, every second one reads nothing although its producer wrote.

    Parameters
    ----------
    rows : sequence of Traffic
        As `traffic` returns; changed.
    npu : Npu
        Whose SRAM and share count.
    """
    share = float(np.float32(npu.cascade_factor))  # theirs is one, which shows in the last byte
    members = footprint = 0
    previous: Traffic | None = None
    for row in rows:
        footprint += int(row.input.total * share) + row.weights.total
        if members and previous:
            if not row.input_on_chip and footprint <= npu.sram_bytes:
                _join(previous, members, share)
                members += 1
            else:
                _close(previous, row, share)
                members = footprint = 0
        else:
            if previous and previous.input_on_chip and row.input_on_chip:
                _stream_weights(row)
            members += 1
        previous = row
    if members and previous:
        _stream_weights(previous)
        previous.output = previous.output.streamed(share)


def _join(previous: Traffic, members: int, share: float) -> None:
    """Keep what lies between `previous` and the pass that joins it on chip."""
    if members == 1:
        previous.input = previous.input.streamed(share)
    else:
        previous.input = Moved()
        previous.input_on_chip = True
        _stream_weights(previous)
    previous.output = Moved()


def _close(previous: Traffic, row: Traffic, share: float) -> None:
    """End a section at `previous`, since `row` cannot join it."""
    if not previous.input_on_chip:
        previous.input_on_chip = previous.input.total > 0
        previous.input = Moved()
        previous.output = previous.output.streamed(share)
        _stream_weights(previous)
    elif row.input_on_chip:
        _stream_weights(row)


def _stream_weights(row: Traffic) -> None:
    row.weights = Moved(row.weights.total, 0)
