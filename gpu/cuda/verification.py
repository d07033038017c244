"""Verification of many cells as one equation, on a device.

With random r_k, all cells k (of column i, of row c) are right, except with a chance of 2^-127, if and only if

    e(sum S_i, [s^64]) = e(sum w_c C_c + sum z_i S_i - [I(s)], [1])

where S_i is the sum of r_k proof_k over the column's cells, w_c is the sum of the r_k of commitment c's
cells, z_i belongs to column i, and I interpolates, column by column, the sum of r_k cell_k. So the proofs are
multiplied by numbers of 128 bits only, one thread each, and longer products are made for 128 columns, the
distinct commitments and the 64 coefficients of I.

All points are tested for membership in G1 exactly, and all additions are complete: nothing is assumed of
them. The r_k are odd numbers below 2^128 from the operating system, new for each call.

What it does not do: the pairing (`kernel_verifier`).

Source: consensus-specs fulu, verify_cell_kzg_proof_batch_impl (which derives the r_k by Fiat-Shamir).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from erasure.columns import parity_weight_row
from gpu.constants import CELL_ELEMENTS, CELLS, SCALAR_MODULUS
from gpu.cuda.device import Arena, Array, Queue, as_words
from gpu.cuda.pipeline import CELL_BYTES
from gpu.cuda.tables import (
    AFFINE_BYTES,
    FR_BYTES,
    POINT_BYTES,
    SCALAR_BITS,
    XYZZ_BYTES,
    Tables,
    cell_root,
    each,
    normalise,
)
from gpu.factors import random_factors, sums_of_factors
from kzg.types import Bytes, IndexArray

FACTOR_BITS: Final = 128

_RUN: Final = 16
"""Points that one thread adds up."""

_FIXED: Final = CELL_ELEMENTS + CELLS
_COLUMN_ROOTS: Final = tuple(cell_root(cell) for cell in range(CELLS))


class VerifyCells:
    """Both sides of the equation, for each chunk of cells.

    Args:
        commitments: u8[C, 48].
        rows: which commitment each cell is of. With `folded`, C commitments of data rows stand for 2C rows:
            row C + j is the parity row that weighs them by `erasure.columns.parity_weight_row(C, j)`.

    Attributes:
        sides: for each chunk, two compressed points: the left one and the right one.
        invalid: an element of a cell is >= r.
        bad_commitments: indices of malformed commitments.
        bad_proofs: positions of malformed proofs.
    """

    overlaps = False  # each chunk costs a pairing

    def __init__(
        self,
        commitments: Bytes,
        rows: IndexArray,
        columns: IndexArray,
        cells: Bytes,
        proofs: Bytes,
        *,
        folded: bool = False,
    ) -> None:
        self.commitments, self.rows, self.folded = commitments, rows, folded
        self.columns, self.cells, self.proofs = columns, cells, proofs
        self.sides: list[tuple[bytes, bytes]] = []
        self.invalid = False
        self.bad_commitments: list[int] = []
        self.bad_proofs: list[int] = []

    def most_commitments(self, count: int) -> int:
        """How many commitments `count` cells can need."""
        return len(self.commitments) if self.folded else min(count, len(self.commitments))

    def weights(self, factors: Array, rows: IndexArray) -> tuple[IndexArray, list[int]]:
        """The commitments that cells of these rows need, and the weight of each."""
        if not self.folded:
            used, group = np.unique(rows, return_inverse=True)
            return used, sums_of_factors(factors, group.reshape(-1), len(used))
        count = len(self.commitments)
        sums = sums_of_factors(factors, rows, 2 * count)
        weights = sums[:count]
        for row, total in enumerate(sums[count:]):
            if total:
                parity = zip(weights, parity_weight_row(count, row), strict=True)
                weights = [(weight + total * w) % SCALAR_MODULUS for weight, w in parity]
        return np.arange(count), weights

    def job(self, arena: Arena, tables: Tables, count: int) -> _VerifyJob:
        return _VerifyJob(self, arena, tables, count)


class _VerifyJob:
    def __init__(self, operation: VerifyCells, arena: Arena, tables: Tables, count: int) -> None:
        self._operation, self._tables = operation, tables
        commitments = operation.most_commitments(count)
        terms = -(-(_FIXED + commitments) // _RUN) * _RUN
        runs = CELLS + -(-count // _RUN)
        self._cells = arena.take(count * CELL_BYTES)
        self._encoded = arena.take((count + commitments) * POINT_BYTES)
        self._factors = arena.take(count * FR_BYTES)
        self._starts = [arena.take((n + 1) * 4) for n in (CELLS, runs, CELLS)]
        self._points = arena.take(count * XYZZ_BYTES)
        self._products = arena.take(count * XYZZ_BYTES)
        self._run_sums = arena.take(runs * XYZZ_BYTES)
        self._bad = arena.take((count + commitments) * 4)
        self._interpolants = arena.take(CELLS * CELL_BYTES)
        self._terms = arena.take(terms * XYZZ_BYTES)
        self._scalars = arena.take(terms * FR_BYTES)
        self._term_products = arena.take(terms * XYZZ_BYTES)
        self._term_sums = arena.take(terms // _RUN * XYZZ_BYTES)
        self._column_sums = arena.take(CELLS // _RUN * XYZZ_BYTES)
        self._sides = arena.take(2 * XYZZ_BYTES)
        self._affine = arena.take(2 * AFFINE_BYTES)
        self._compressed = arena.take(2 * POINT_BYTES)
        self._invalid = arena.take(4)
        self._found = np.zeros((2, POINT_BYTES), np.uint8)
        self._found_invalid = np.zeros(1, np.int32)
        self._found_bad: Array = np.zeros(0, np.int32)
        self._used: IndexArray = np.zeros(0, np.int64)
        self._order: IndexArray = np.zeros(0, np.int64)

    def start(self, queue: Queue, part: slice) -> None:
        operation = self._operation
        self._order = np.argsort(operation.columns[part], kind="stable")
        columns = operation.columns[part][self._order]
        count = len(columns)
        factors = random_factors(count)
        self._used, weights = operation.weights(factors, operation.rows[part][self._order])
        used_count = len(self._used)

        queue.upload(self._cells, operation.cells[part][self._order])
        queue.upload(self._encoded.part(0, count * POINT_BYTES), operation.proofs[part][self._order])
        encoded = self._encoded.part(count * POINT_BYTES, used_count * POINT_BYTES)
        queue.upload(encoded, operation.commitments[self._used])
        wide = np.zeros((count, 8), np.uint32)
        wide[:, :4] = factors
        queue.upload(self._factors, wide)
        scalars = [*_COLUMN_ROOTS, *weights]
        fixed = CELL_ELEMENTS * FR_BYTES
        queue.upload(self._scalars.part(fixed, len(scalars) * FR_BYTES), as_words(scalars))
        self._add_proofs(queue, columns)
        self._interpolate(queue)
        self._add_terms(queue, count, used_count)
        self._found_bad = np.zeros(count + used_count, np.int32)
        queue.download(self._bad.part(0, self._found_bad.nbytes), self._found_bad)
        queue.download(self._invalid, self._found_invalid)
        queue.download(self._compressed, self._found)

    def _add_proofs(self, queue: Queue, columns: IndexArray) -> None:
        """S_i into the columns' terms."""
        count = len(columns)
        starts = np.searchsorted(columns, np.arange(CELLS + 1)).astype(np.int32)
        runs, columns_runs = runs_of(starts)
        for region, array in zip(self._starts, (starts, runs, columns_runs), strict=True):
            queue.upload(region, array)
        each(queue, "decompress_points", count, self._encoded, self._points, self._bad, 1, count)
        each(
            queue,
            "multiply_points",
            count,
            self._points,
            self._factors,
            self._products,
            FACTOR_BITS,
            count,
            count,
        )
        run_count = len(runs) - 1
        each(queue, "sum_segments", run_count, self._products, self._starts[1], self._run_sums, run_count)
        sums = self._terms.part(CELL_ELEMENTS * XYZZ_BYTES, CELLS * XYZZ_BYTES)
        each(queue, "sum_segments", CELLS, self._run_sums, self._starts[2], sums, CELLS)

    def _interpolate(self, queue: Queue) -> None:
        """-I's coefficients into the first scalars."""
        tables = self._tables
        queue.clear(self._invalid)
        each(
            queue,
            "combine_cells",
            CELLS * CELL_ELEMENTS,
            self._cells,
            self._starts[0],
            self._factors,
            tables.scales.combine,
            self._interpolants,
            self._invalid,
        )
        blocks = CELLS // 8
        arguments = (self._interpolants, tables.places, CELLS, CELLS, tables.zeta_inverse)
        queue.launch("interpolate_cells", blocks, *arguments)
        each(queue, "negate_sums", CELL_ELEMENTS, self._interpolants, self._scalars)

    def _add_terms(self, queue: Queue, count: int, used_count: int) -> None:
        """Both sides, compressed."""
        queue.copy(self._terms.part(0, CELL_ELEMENTS * XYZZ_BYTES), self._tables.monomial)
        each(
            queue,
            "decompress_points",
            used_count,
            self._encoded.part(count * POINT_BYTES, used_count * POINT_BYTES),
            self._terms.part(_FIXED * XYZZ_BYTES, used_count * XYZZ_BYTES),
            self._bad.part(count * 4, used_count * 4),
            1,
            used_count,
        )
        terms = _FIXED + used_count
        runs = -(-terms // _RUN)
        queue.clear(self._term_products)  # infinity behind the last term
        each(
            queue,
            "multiply_points",
            terms,
            self._terms,
            self._scalars,
            self._term_products,
            SCALAR_BITS,
            terms,
            terms,
        )
        each(queue, "sum_strided", runs, self._term_products, self._term_sums, _RUN, 1, runs)
        left, right = (self._sides.part(side * XYZZ_BYTES, XYZZ_BYTES) for side in range(2))
        each(queue, "sum_strided", 1, self._term_sums, right, runs, 1, 1)
        sums = self._terms.part(CELL_ELEMENTS * XYZZ_BYTES, CELLS * XYZZ_BYTES)
        column_runs = CELLS // _RUN
        each(queue, "sum_strided", column_runs, sums, self._column_sums, _RUN, 1, column_runs)
        each(queue, "sum_strided", 1, self._column_sums, left, column_runs, 1, 1)
        normalise(queue, self._sides, self._affine, 2)
        each(queue, "compress_points", 2, self._affine, self._compressed, 2)

    def finish(self, part: slice) -> None:
        operation = self._operation
        count = part.stop - part.start
        bad = np.flatnonzero(self._found_bad)
        operation.bad_proofs += [part.start + int(self._order[i]) for i in bad if i < count]
        operation.bad_commitments += [int(self._used[i - count]) for i in bad if i >= count]
        operation.invalid |= bool(self._found_invalid.any())
        operation.sides.append((self._found[0].tobytes(), self._found[1].tobytes()))


def runs_of(starts: Array) -> tuple[Array, Array]:
    """Segments cut into runs of at most _RUN: where runs start, and where each segment's runs start.

    starts: i32[n + 1]. Returns i32[runs + 1], i32[n + 1].
    """
    runs: list[int] = []
    firsts = []
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        firsts.append(len(runs))
        runs.extend(range(start, stop, _RUN))
    return (
        np.array([*runs, int(starts[-1])], dtype=np.int32),
        np.array([*firsts, len(runs)], dtype=np.int32),
    )
