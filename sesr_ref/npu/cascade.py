"""The "future" estimate of Arm's library: passes that fit together skip the DRAM.

It reproduces the DRAM bytes of Table 3, quirks included; see `cascade`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sesr_ref.npu.hardware import Npu
from sesr_ref.npu.traffic import Moved, Traffic


def cascade(rows: Sequence[Traffic], npu: Npu) -> None:
    """Apply Arm's "future" estimate to the passes, in place.

    A section of passes grows while the bytes on chip fit the SRAM: a share of each input, and the
    weights.  Tensors between two of its passes cost nothing.  Two quirks are kept, since Table 3
    depends on them: the pass that ends a section never starts the next one, and closing a section
    drops its last member's input even if that is its only pass.  So at 1080p, where no two passes
    fit together, every second one reads nothing although the pass before it wrote its output.

    Parameters
    ----------
    rows : sequence of Traffic
        From `traffic`; changed in place.
    npu : Npu
        Its SRAM and its cascade factor are used.
    """
    share = float(np.float32(npu.cascade_factor))  # a float32 in Arm's code: it affects last bytes
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
    """Keep the tensor between `previous` and the pass that joins it on chip."""
    if members == 1:
        previous.input = previous.input.streamed(share)
    else:
        previous.input = Moved()
        previous.input_on_chip = True
        _stream_weights(previous)
    previous.output = Moved()


def _close(previous: Traffic, row: Traffic, share: float) -> None:
    """End a section at `previous`, because `row` cannot join it."""
    if not previous.input_on_chip:
        previous.input_on_chip = previous.input.total > 0
        previous.input = Moved()
        previous.output = previous.output.streamed(share)
        _stream_weights(previous)
    elif row.input_on_chip:
        _stream_weights(row)


def _stream_weights(row: Traffic) -> None:
    row.weights = Moved(row.weights.total, 0)
