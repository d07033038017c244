"""How many clients' folds give a lost batch back.

Each of N clients draws s distinct columns of the 128 and has the folds of them: one equation each in the R
cells of its column. A column with R equations is solved (they are independent but for a chance of about
2^-128), and 64 columns are the batch. So the batch is back when R clients or more drew each of 64 columns.

The bound. A client draws a column with probability s/128, so the number of a column's equations is binomial,
and it is solved with probability p = P(Binomial(N, s/128) >= R). The columns that one client draws are
negatively associated; clients are independent, and "solved" is a monotone function of a column's own draws;
hence the number S of solved columns has the Chernoff-Hoeffding bound of independent ones (as in `coverage`):

    P(S <= 63) <= exp(-128 KL(63/128 || p)),   p > 63/128.

It is an upper bound on failure: the number of clients is on the safe side. A node that holds h columns whole
needs 64 - h more among the others.

Source: as of `coverage`.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb, exp, log

import numpy as np

from erasure.constants import CELLS_PER_BLOB, CELLS_PER_EXT_BLOB
from sampling.errors import InvalidConfidence, InvalidSampleCount
from sampling.simulation import draw_samples
from sampling.soundness import total_cells


def solved_probability(rows: int, columns: int, clients: int) -> Fraction:
    """The probability that a given column is drawn by at least `rows` of the clients, exactly.

    Args:
        rows: data rows of the batch.
        columns: distinct columns that each client draws, 1..128.
        clients: how many there are, 0 or more.

    Raises:
        InvalidRows, InvalidSampleCount: for a batch or a number of columns that does not exist.
    """
    total_cells(rows)
    if not 1 <= columns <= CELLS_PER_EXT_BLOB:
        raise InvalidSampleCount(columns, CELLS_PER_EXT_BLOB)
    others = CELLS_PER_EXT_BLOB - columns
    unsolved = sum(
        comb(clients, drawn) * columns**drawn * others ** (clients - drawn)
        for drawn in range(min(rows, clients + 1))
    )
    return 1 - Fraction(unsolved, CELLS_PER_EXT_BLOB**clients)


def rescue_failure_bound(rows: int, columns: int, clients: int) -> float:
    """Upper bound on the probability that the folds of so many clients do not give the batch back.

    Raises:
        InvalidRows, InvalidSampleCount: for a batch or a number of columns that does not exist.
    """
    p = float(solved_probability(rows, columns, clients))
    q = (CELLS_PER_BLOB - 1) / CELLS_PER_EXT_BLOB
    if p <= q:
        return 1.0
    if p == 1:
        return 0.0
    divergence = q * log(q / p) + (1 - q) * log((1 - q) / (1 - p))
    return exp(-CELLS_PER_EXT_BLOB * divergence)


def rescuers_needed(rows: int, columns: int, confidence: float) -> int:
    """The least number of clients for which `rescue_failure_bound` is at most 1 - confidence.

    Raises:
        InvalidRows, InvalidSampleCount: for a batch or a number of columns that does not exist.
        InvalidConfidence: unless 0 < confidence < 1.
    """
    if not 0 < confidence < 1:
        raise InvalidConfidence(confidence)
    allowed = 1 - confidence
    too_few, enough = 0, 1
    while rescue_failure_bound(rows, columns, enough) > allowed:
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if rescue_failure_bound(rows, columns, middle) > allowed:
            too_few = middle
        else:
            enough = middle
    return enough


def simulate_rescue(rows: int, columns: int, rng: np.random.Generator) -> int:
    """After how many clients, coming one after another, the batch is back: one draw.

    Raises:
        InvalidRows, InvalidSampleCount: for a batch or a number of columns that does not exist.
    """
    total_cells(rows)
    counts = np.zeros(CELLS_PER_EXT_BLOB, dtype=np.int64)
    clients = 0
    while (counts >= rows).sum() < CELLS_PER_BLOB:
        counts[draw_samples(CELLS_PER_EXT_BLOB, columns, 1, rng)[0]] += 1
        clients += 1
    return clients
