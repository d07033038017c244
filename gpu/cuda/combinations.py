"""Combinations on a device: cells of parity rows, and proofs of parity rows and of lost columns.

A parity cell is a fixed combination of a column's data cells, element by element, with the weights of
`erasure.columns`; its proof is the same combination of their proofs. The proof of a lost column is a
combination of those of 64 known ones (`kzg.recovery`). So cells are a product of a matrix and a vector for
each element, and
proofs sums of scalar multiples, a thread to each: at most 256 x 256 of them.

What it does not do: keep weights on the device between calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from erasure.columns import parity_weight_row
from gpu.constants import CELL_ELEMENTS, SCALAR_MODULUS
from gpu.cuda.device import Arena, Array, Queue, as_words
from gpu.cuda.pipeline import CELL_BYTES
from gpu.cuda.tables import (
    AFFINE_BYTES,
    FR_BYTES,
    POINT_BYTES,
    SCALAR_BITS,
    XYZZ_BYTES,
    Tables,
    each,
    normalise,
)
from kzg.types import Bytes, IndexArray

_RUN: Final = 16
"""Points that one thread adds up at first."""


class ParityCells:
    """Cells of parity rows, in chunks of columns.

    cells: u8[R, k, 2048]; rows: m of the parity rows; derived: u8[m, k, 2048], filled.
    """

    overlaps = True

    def __init__(self, cells: Bytes, rows: IndexArray, derived: Bytes) -> None:
        self.cells, self.rows, self.derived = cells, rows, derived
        self.invalid = False

    def job(self, arena: Arena, tables: Tables, count: int) -> _CellsJob:
        return _CellsJob(self, arena, count)


class _CellsJob:
    def __init__(self, operation: ParityCells, arena: Arena, count: int) -> None:
        self._operation = operation
        height, wanted = len(operation.cells), len(operation.rows)
        self._cells = arena.take(height * count * CELL_BYTES)
        self._weights = arena.take(wanted * height * FR_BYTES)
        self._out = arena.take(wanted * count * CELL_BYTES)
        self._invalid = arena.take(4)
        self._found_invalid = np.zeros(1, np.int32)

    def start(self, queue: Queue, part: slice) -> None:
        operation = self._operation
        height, per_row = len(operation.cells), (part.stop - part.start) * CELL_ELEMENTS
        count = len(operation.rows) * per_row
        queue.upload(self._cells, operation.cells[:, part])
        queue.upload(
            self._weights, as_words([(w << 256) % SCALAR_MODULUS for w in _weights(height, operation.rows)])
        )
        queue.clear(self._invalid)
        each(
            queue,
            "combine_rows",
            count,
            self._cells,
            self._weights,
            self._out,
            height,
            per_row,
            count,
            self._invalid,
        )
        queue.download(self._out, operation.derived[:, part])
        queue.download(self._invalid, self._found_invalid)

    def finish(self, part: slice) -> None:
        self._operation.invalid |= bool(self._found_invalid.any())


class WeightedSums:
    """Weighted sums of the same points, in chunks of sums.

    points: u8[k, 48]; weights: k for each of m sums; sums: u8[m, 48], filled; bad: malformed points.
    """

    overlaps = False

    def __init__(self, points: Bytes, weights: Sequence[Sequence[int]], sums: Bytes) -> None:
        self.points, self.weights, self.sums = points, weights, sums
        self.bad: list[int] = []

    def job(self, arena: Arena, tables: Tables, count: int) -> _SumsJob:
        return _SumsJob(self, arena, count)


class _SumsJob:
    def __init__(self, operation: WeightedSums, arena: Arena, count: int) -> None:
        self._operation = operation
        height = len(operation.points)
        self._runs = -(-height // _RUN)
        self._encoded = arena.take(height * POINT_BYTES)
        self._bad = arena.take(height * 4)
        self._points = arena.take(self._runs * _RUN * XYZZ_BYTES)
        self._scalars = arena.take(count * self._runs * _RUN * FR_BYTES)
        self._products = arena.take(count * self._runs * _RUN * XYZZ_BYTES)
        self._sums = arena.take(count * self._runs * XYZZ_BYTES)
        self._totals = arena.take(count * XYZZ_BYTES)
        self._affine = arena.take(count * AFFINE_BYTES)
        self._out = arena.take(count * POINT_BYTES)
        self._found_bad = np.zeros(height, np.int32)

    def start(self, queue: Queue, part: slice) -> None:
        operation = self._operation
        height, padded, weights = len(operation.points), self._runs * _RUN, operation.weights[part]
        count = len(weights)
        scalars: Array = np.zeros((count, padded, FR_BYTES // 4), np.uint32)
        words = as_words([weight for of_sum in weights for weight in of_sum])
        scalars[:, :height] = words.reshape(count, height, -1)
        queue.upload(self._encoded, operation.points)
        queue.upload(self._scalars, scalars)
        queue.clear(self._points)  # infinity behind the last point
        each(queue, "decompress_points", height, self._encoded, self._points, self._bad, 1, height)
        items, runs = count * padded, count * self._runs
        each(
            queue,
            "multiply_points",
            items,
            self._points,
            self._scalars,
            self._products,
            SCALAR_BITS,
            padded,
            items,
        )
        each(queue, "sum_strided", runs, self._products, self._sums, _RUN, 1, runs)
        each(queue, "sum_strided", count, self._sums, self._totals, self._runs, 1, count)
        normalise(queue, self._totals, self._affine, count)
        each(queue, "compress_points", count, self._affine, self._out, count)
        queue.download(self._out, operation.sums[part])
        queue.download(self._bad, self._found_bad)

    def finish(self, part: slice) -> None:
        self._operation.bad += [int(i) for i in np.flatnonzero(self._found_bad)]


def _weights(height: int, rows: IndexArray) -> list[int]:
    """The weights of the data rows, one parity row after the other."""
    return [weight for row in rows for weight in parity_weight_row(height, int(row))]
