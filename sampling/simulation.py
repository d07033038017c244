"""Monte Carlo of clients and adversaries, to set beside the exact figures.

An adversary is a boolean matrix `withheld` (2R x 128). Clients draw distinct uniform cells; a client is
deceived when all its cells are there although the data is lost. `is_recoverable` decides the latter by
repairing rows and columns in turn, on booleans alone.

Everything is seeded by the caller's numpy generator. No cells, no proofs: those are `kzg`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from erasure.constants import CELLS_PER_BLOB, CELLS_PER_EXT_BLOB
from sampling.errors import InvalidSampleCount
from sampling.soundness import total_cells

BoolMatrix = NDArray[np.bool_]

_CLIENTS_PER_CHUNK = 1 << 14


@dataclass(frozen=True, slots=True)
class Deception:
    """How many of the simulated clients were deceived."""

    clients: int
    deceived: int

    @property
    def rate(self) -> float:
        """Share of deceived clients."""
        return self.deceived / self.clients

    def deviation(self, probability: float) -> float:
        """Distance of `rate` from an expected probability, in standard errors of that probability."""
        error = sqrt(probability * (1 - probability) / self.clients)
        return (
            abs(self.rate - probability) / error if error else (0.0 if self.rate == probability else np.inf)
        )


def withhold_rectangle(rows: int, rng: np.random.Generator) -> BoolMatrix:
    """The least that loses data: R + 1 random rows crossed with 65 random columns."""
    withheld = np.zeros((total_cells(rows) // CELLS_PER_EXT_BLOB, CELLS_PER_EXT_BLOB), dtype=np.bool_)
    chosen_rows = rng.choice(2 * rows, rows + 1, replace=False)
    chosen_columns = rng.choice(CELLS_PER_EXT_BLOB, CELLS_PER_BLOB + 1, replace=False)
    withheld[np.ix_(chosen_rows, chosen_columns)] = True
    return withheld


def withhold_columns(rows: int, columns: int, rng: np.random.Generator) -> BoolMatrix:
    """What members can do who hold whole columns and keep `columns` of them, parity cells included."""
    withheld = np.zeros((total_cells(rows) // CELLS_PER_EXT_BLOB, CELLS_PER_EXT_BLOB), dtype=np.bool_)
    withheld[:, rng.choice(CELLS_PER_EXT_BLOB, columns, replace=False)] = True
    return withheld


def withhold_cells(rows: int, cells: int, rng: np.random.Generator) -> BoolMatrix:
    """A failure without a plan: `cells` random cells are lost."""
    total = total_cells(rows)
    withheld = np.zeros(total, dtype=np.bool_)
    withheld[rng.choice(total, cells, replace=False)] = True
    return withheld.reshape(-1, CELLS_PER_EXT_BLOB)


def is_recoverable(withheld: BoolMatrix) -> bool:
    """True when repairing rows and columns in turn brings every cell back.

    Args:
        withheld: bool[2a, 2b], the codeword positions that are missing; any a cells determine a column
            and any b a row. Works for any even shape, so that tiny matrices can be enumerated.
    """
    missing = withheld.copy()
    column_spare, row_spare = missing.shape[0] // 2, missing.shape[1] // 2
    while missing.any():
        before = int(missing.sum())
        missing[missing.sum(axis=1) <= row_spare, :] = False
        missing[:, missing.sum(axis=0) <= column_spare] = False
        if int(missing.sum()) == before:
            return False
    return True


def draw_samples(total: int, samples: int, clients: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Distinct uniform cells of each client, int64[clients, samples].

    Raises:
        InvalidSampleCount: unless 1 <= samples <= total.
    """
    if not 1 <= samples <= total:
        raise InvalidSampleCount(samples, total)
    if samples * samples > total:  # collisions are the rule: sort random keys instead
        keys = rng.random((clients, total))
        return np.argpartition(keys, samples - 1, axis=1)[:, :samples].astype(np.int64)

    # Draw with replacement and redraw whole rows that have a duplicate: what is left is uniform over the
    # tuples of distinct cells. A row survives with probability about exp(-samples^2 / 2 total) >= 0.6.
    drawn = rng.integers(0, total, (clients, samples), dtype=np.int64)
    pending = np.arange(clients)
    while pending.size:
        ordered = np.sort(drawn[pending], axis=1)
        pending = pending[(ordered[:, 1:] == ordered[:, :-1]).any(axis=1)]
        drawn[pending] = rng.integers(0, total, (pending.size, samples), dtype=np.int64)
    return drawn


def simulate_clients(withheld: BoolMatrix, samples: int, clients: int, rng: np.random.Generator) -> Deception:
    """How many of `clients` clients with `samples` cells each see nothing withheld.

    Raises:
        InvalidSampleCount: more samples than cells, or none.
    """
    flat = withheld.reshape(-1)
    deceived = 0
    for start in range(0, clients, _CLIENTS_PER_CHUNK):
        drawn = draw_samples(flat.size, samples, min(_CLIENTS_PER_CHUNK, clients - start), rng)
        deceived += int((~flat[drawn].any(axis=1)).sum())
    return Deception(clients, deceived)


def simulate_coverage(rows: int, samples: int, clients: int, rng: np.random.Generator) -> BoolMatrix:
    """Cells that none of `clients` clients sampled, bool[2R, 128]: what they cannot give each other."""
    missed = np.ones(total_cells(rows), dtype=np.bool_)
    for start in range(0, clients, _CLIENTS_PER_CHUNK):
        drawn = draw_samples(missed.size, samples, min(_CLIENTS_PER_CHUNK, clients - start), rng)
        missed[drawn.reshape(-1)] = False
    return missed.reshape(-1, CELLS_PER_EXT_BLOB)
