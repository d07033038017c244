"""Which cells a client samples: distinct, uniform over the whole 2R x 128 matrix, unpredictable.

The generator is an argument. A client that decides anything passes `random.SystemRandom()`; a simulation
passes a seeded `random.Random`. Order does not matter but is random as well, so a prefix of the draw is
itself a uniform draw.

Invariants: coordinates are distinct; each set of that size is equally likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from erasure.constants import CELLS_PER_EXT_BLOB
from sampling.errors import InvalidSampleCount
from sampling.soundness import total_cells


class Coordinates(NamedTuple):
    """A cell of the extended matrix."""

    row: int
    """0..2R-1; rows from R on are parity rows."""
    column: int
    """0..127; columns from 64 on are the rows' own extension."""


def select_cells(rows: int, samples: int, rng: Random) -> tuple[Coordinates, ...]:
    """Draw `samples` distinct cells of the matrix of a batch of `rows` data rows.

    Raises:
        InvalidRows: unless 1 <= rows <= MAX_ROWS.
        InvalidSampleCount: unless 1 <= samples <= 256 * rows.
    """
    return extend_cells(rows, (), samples, rng)


def extend_cells(
    rows: int, chosen: Sequence[Coordinates], samples: int, rng: Random
) -> tuple[Coordinates, ...]:
    """Draw more cells after those `chosen` before, up to `samples` in all.

    A uniform draw followed by a uniform draw from the rest is a uniform draw: raising the confidence of a
    batch later costs nothing, and cells once chosen stay.

    Raises:
        InvalidRows: unless 1 <= rows <= MAX_ROWS.
        InvalidSampleCount: unless 1 <= samples <= 256 * rows and at least as many as chosen.
    """
    total = total_cells(rows)
    if not max(1, len(chosen)) <= samples <= total:
        raise InvalidSampleCount(samples, total)
    taken = {cell.row * CELLS_PER_EXT_BLOB + cell.column for cell in chosen}
    free = [cell for cell in range(total) if cell not in taken] if taken else range(total)
    drawn = rng.sample(free, samples - len(chosen))
    return (*chosen, *(Coordinates(*divmod(cell, CELLS_PER_EXT_BLOB)) for cell in drawn))
