"""The soundness tables of the documentation, computed.

`python -m sampling.tables` prints them; docs/reference/soundness.md holds them, and a test compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from erasure.constants import BYTES_PER_BLOB, BYTES_PER_CELL, CELLS_PER_BLOB, CELLS_PER_EXT_BLOB
from kzg.constants import BYTES_PER_COMMITMENT, BYTES_PER_PROOF
from sampling.coverage import clients_needed
from sampling.rescue import rescuers_needed, simulate_rescue
from sampling.soundness import (
    failure_probability,
    fold_failure_probability,
    miss_probability,
    samples_needed,
    total_cells,
    unrecoverable_threshold,
)

TABLE_ROWS = (1, 2, 3, 4, 5, 8, 16, 32, 64, 128, 256)
TABLE_FAILURES = tuple(Fraction(1, 10**exponent) for exponent in (2, 3, 4, 5, 6, 9))
RESCUE_ROWS = (1, 3, 8, 32, 133)
RESCUE_FOLDS = 13
RESCUE_DRAWS = 200
BYTES_PER_SAMPLE = BYTES_PER_CELL + BYTES_PER_PROOF + 1
"""Cell, proof and the status byte of the many-cells answer."""


def samples_table() -> str:
    """Cells to sample by rows of the batch and wanted confidence (Markdown)."""
    headings = ["rows", "cells", "least lost", "share", *(_confidence(failure) for failure in TABLE_FAILURES)]
    body = [
        [
            f"{rows}",
            f"{total_cells(rows):,}",
            f"{unrecoverable_threshold(rows):,}",
            f"{unrecoverable_threshold(rows) / total_cells(rows):.2%}",
            *(f"{samples_needed(rows, 1 - failure)}" for failure in TABLE_FAILURES),
        ]
        for rows in TABLE_ROWS
    ]
    return _markdown(headings, body)


def bytes_table() -> str:
    """What a verdict at 99.99 % costs, by rows of the batch (Markdown)."""
    confidence = 1 - Fraction(1, 10**4)
    body = []
    for rows in TABLE_ROWS:
        samples = samples_needed(rows, confidence)
        body.append(
            [
                f"{rows}",
                f"{samples}",
                f"{float(failure_probability(rows, samples)):.2e}",
                f"{samples * BYTES_PER_SAMPLE:,}",
                f"{rows * BYTES_PER_COMMITMENT:,}",
                f"{rows * BYTES_PER_BLOB:,}",
            ]
        )
    return _markdown(
        ["rows", "samples", "exact failure", "bytes of samples", "bytes of commitments", "bytes of data"],
        body,
    )


def clients_table() -> str:
    """Clients that can rebuild the data between them, with 99.99 % confidence each (Markdown)."""
    body = []
    for rows in TABLE_ROWS:
        samples = samples_needed(rows, 1 - Fraction(1, 10**4))
        body.append(
            [
                f"{rows}",
                f"{samples}",
                *(f"{clients_needed(rows, samples, c):,}" for c in (0.99, 0.9999, 1 - 1e-9)),
            ]
        )
    return _markdown(["rows", "samples each", "99 %", "99.99 %", "1 - 1e-9"], body)


def coalition_table() -> str:
    """What a coalition that withholds its columns makes a client say, of 100 equal members (Markdown).

    All 4 copies of a column must be the coalition's, so its slots are at most 4 times its columns.
    """
    members, replication, rows = 100, 4, 133
    whole, rest = divmod(CELLS_PER_EXT_BLOB * replication, members)
    samples = samples_needed(rows, 1 - Fraction(1, 10**4))
    body = []
    for size in (4, 10, 20, 33, 50, 60):
        slots = size * whole + min(size, rest)
        columns = slots // replication
        seen = 1 - miss_probability(total_cells(rows), 2 * rows * columns, samples)
        lost = columns > CELLS_PER_EXT_BLOB - CELLS_PER_BLOB
        folds = f"{float(1 - fold_failure_probability(RESCUE_FOLDS)):.2%}, and true" if lost else "0"
        body.append([f"{size} %", f"{columns}", f"{float(seen):.1%}", folds])
    return _markdown(
        ["stake of the coalition", "columns it has alone, at most", "by cells", "by folds"], body
    )


def rescue_table() -> str:
    """Clients with 13 folds each who give a batch back to a node that holds none of it (Markdown)."""
    body = []
    for rows in RESCUE_ROWS:
        rng = np.random.default_rng(rows)
        drawn = sorted(simulate_rescue(rows, RESCUE_FOLDS, rng) for _ in range(RESCUE_DRAWS))
        body.append(
            [
                f"{rows}",
                f"{drawn[RESCUE_DRAWS // 2]:,}",
                f"{drawn[-(RESCUE_DRAWS // 100) - 1]:,}",
                *(f"{rescuers_needed(rows, RESCUE_FOLDS, c):,}" for c in (0.99, 0.9999)),
            ]
        )
    return _markdown(["rows", "median of draws", "99 % of draws", "bound, 99 %", "bound, 99.99 %"], body)


def _confidence(failure: Fraction) -> str:
    exponent = len(str(failure.denominator)) - 1
    return f"{float(1 - failure) * 100:.{max(exponent - 2, 0)}f} %" if exponent < 9 else f"1 - 1e-{exponent}"


def _markdown(headings: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [list(headings), ["--:"] * len(headings), *map(list, body)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    print(samples_table(), bytes_table(), clients_table(), coalition_table(), rescue_table(), sep="\n")
