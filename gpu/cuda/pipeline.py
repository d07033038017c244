"""The operations on rows as sequences of kernels, on memory that the caller provides.

Each operation is a job: `Job(arena, rows, ...)` takes its memory from an arena, `run(queue)` gives the queue
its work. With an arena that only counts, a job reports how much memory it needs (`workers` admits
rows by that). The kernels describe how each array is laid out, `tables` what is resident.

    Rows       bytes of cells -> remainders of all 128 cells -> bytes of the cells that were not given
    Commit     elements -> comb -> one point a row
    Prove      remainders -> comb -> u, blinded -> constant convolution -> proofs

Marks that a job leaves for its caller: `invalid` (an element is >= r; results mean nothing), `impossible`
(independent points met) and, of a proof, `failed` for each row where blinded points met: such a row is proved
again with `complete`.

Source: Feist and Khovratovich, "Fast amortized KZG proofs", https://eprint.iacr.org/2023/033;
gpu/convolution.py.
"""

from __future__ import annotations

from typing import Final

from gpu.constants import CELL_ELEMENTS, CELLS
from gpu.cuda.device import Arena, Queue, Region
from gpu.cuda.tables import (
    AFFINE_BYTES,
    FR_BYTES,
    POINT_BYTES,
    XYZZ_BYTES,
    Comb,
    Tables,
    each,
    fill_entries,
    normalise,
)

CELL_BYTES: Final = CELL_ELEMENTS * FR_BYTES
BLOB_ELEMENTS: Final = CELLS // 2 * CELL_ELEMENTS
BLOB_BYTES: Final = BLOB_ELEMENTS * FR_BYTES

_SUMS: Final = 32  # digit places of both halves of a constant of the convolution
_MULTIPLES: Final = Comb(
    1, 8, 256, 8
)  # P, 3 P, .. 255 P are the sums +-P +-2P .. +-64 P + 128 P: a window of 8
_TREES: Final = 8  # cells to a block of the transforms


class Rows:
    """Cells from half of them: the extension of rows, or the recovery of lost cells.

    Args:
        count: rows.
        known, lost: how many cells of each row are given, and how many are wanted.
    """

    def __init__(self, arena: Arena, tables: Tables, count: int, known: int, lost: int) -> None:
        self._tables, self._count, self._known, self._lost = tables, count, known, lost
        self.invalid = arena.take(4)
        self.cells = arena.take(count * known * CELL_BYTES)  # given, as bytes
        self.out = arena.take(count * lost * CELL_BYTES)  # wanted, as bytes
        self.remainders = arena.take(count * CELLS * CELL_BYTES)

    def extend(self, queue: Queue) -> None:
        """Cells 64..127 from 0..63. Remainders 64..127 come out times 64."""
        tables = self._tables
        self.load(queue, tables.places)
        queue.launch(
            "extend_remainders",
            self._count * CELL_ELEMENTS // _TREES,
            self.remainders,
            tables.zeta,
            tables.zeta_inverse,
        )
        upper = tables.places.part(CELLS // 2 * 4, CELLS // 2 * 4)
        self._evaluate(queue, upper, tables.scales.inverse64)

    def recover(self, queue: Queue, known: Region, lost: Region, matrix: Region) -> None:
        """The lost cells.

        known, lost: i32 cell indices; matrix: `gpu.cuda.recovery.lagrange_matrix` in Montgomery form.
        """
        self.load(queue, known)
        if not self._lost:
            return
        items = self._count * self._lost * CELL_ELEMENTS
        each(queue, "recover_remainders", items, self.remainders, known, lost, self._lost, matrix, items)
        self._evaluate(queue, lost, self._tables.scales.one)

    def load(self, queue: Queue, places: Region) -> None:
        """The remainders of the given cells."""
        tables, cells = self._tables, self._count * self._known
        queue.clear(self.invalid)
        elements = cells * CELL_ELEMENTS
        each(
            queue,
            "load_elements",
            elements,
            self.cells,
            self.remainders,
            places,
            self._known,
            elements,
            tables.scales.load,
            self.invalid,
        )
        blocks = -(-cells // _TREES)
        queue.launch(
            "interpolate_cells", blocks, self.remainders, places, self._known, cells, tables.zeta_inverse
        )

    def _evaluate(self, queue: Queue, places: Region, scale: Region) -> None:
        cells = self._count * self._lost
        queue.launch(
            "evaluate_cells",
            -(-cells // _TREES),
            self.remainders,
            places,
            self._lost,
            cells,
            self._tables.zeta,
            scale,
            self.out,
        )


class _CombSums:
    """The comb's sums by position, for scalars that are recoded in `words`."""

    def __init__(self, arena: Arena, shape: Comb, table: Region, count: int) -> None:
        self._shape, self._table, self._count = shape, table, count
        self.words = arena.take(count * shape.columns * shape.points * FR_BYTES)
        self._bits = arena.take(count * shape.columns * shape.t * shape.chunks * 4)
        self.sums = arena.take(count * shape.columns * shape.t * XYZZ_BYTES)
        self.failed = arena.take(count * 4)

    def run(self, queue: Queue) -> None:
        shape = self._shape
        bits = self._count * shape.columns * shape.t * shape.chunks
        each(queue, "comb_bits", bits, self.words, self._bits, shape.points, shape.t, bits)
        queue.clear(self.failed)
        each(
            queue,
            "comb_sums",
            self._count * shape.columns * shape.t,
            self._table,
            self._bits,
            self.sums,
            shape.columns,
            shape.points,
            shape.t,
            shape.b,
            self._count,
            self.failed,
        )


class Commit:
    """Commitments of rows."""

    def __init__(self, arena: Arena, tables: Tables, count: int) -> None:
        proving = tables.proving
        shape = proving.commitment
        assert shape.columns == 64
        self._count, self._shape = count, shape
        self.invalid = arena.take(4)
        self.blobs = arena.take(count * BLOB_BYTES)
        self.out = arena.take(count * POINT_BYTES)
        self._comb = _CombSums(arena, shape, proving.commitment_table, count)
        self._partial = arena.take(count * 8 * shape.t * XYZZ_BYTES)
        self._by_position = arena.take(count * shape.t * XYZZ_BYTES)
        self._totals = arena.take(count * XYZZ_BYTES)
        self._affine = arena.take(count * AFFINE_BYTES)
        self.impossible = self._comb.failed

    def run(self, queue: Queue) -> None:
        count, t = self._count, self._shape.t
        elements = count * BLOB_ELEMENTS
        queue.clear(self.invalid)
        each(queue, "recode_blobs", elements, self.blobs, self._comb.words, elements, self.invalid)
        self._comb.run(queue)
        partial, summed = count * 8 * t, count * t
        each(queue, "sum_strided", partial, self._comb.sums, self._partial, 8, t, partial)
        each(queue, "sum_strided", summed, self._partial, self._by_position, 8, t, summed)
        each(queue, "comb_total", count, self._by_position, self._totals, t, count, None, 1)
        normalise(queue, self._totals, self._affine, count)
        each(queue, "compress_points", count, self._affine, self.out, count)


class Prove:
    """Proofs of all cells of rows, from the remainders of all their cells."""

    def __init__(self, arena: Arena, tables: Tables, count: int) -> None:
        self._tables, self._scales, self._count = tables.proving, tables.scales, count
        points = count * CELLS
        self.out = arena.take(points * POINT_BYTES)
        self.failed = arena.take(count * 4)
        self._comb = _CombSums(arena, self._tables.proof, self._tables.proof_table, count)
        self._u = arena.take(points * XYZZ_BYTES)
        self._parts = arena.take(points * XYZZ_BYTES)
        self._walk = [arena.take(points * 8 * XYZZ_BYTES) for _ in range(2)]
        self._expanded = [arena.take(points * 8 * AFFINE_BYTES) for _ in range(2)]
        self._entries = arena.take(points * _MULTIPLES.entries * XYZZ_BYTES)
        self._multiples = arena.take(points * _MULTIPLES.entries * AFFINE_BYTES)
        self._sums = arena.take(points * _SUMS * XYZZ_BYTES)
        self._proofs = arena.take(points * XYZZ_BYTES)
        self._affine = arena.take(points * AFFINE_BYTES)
        self.impossible = self._comb.failed

    def run(self, queue: Queue, remainders: Region, upper_scale: Region, *, complete: bool = False) -> None:
        """Proofs, by cells.

        Args:
            upper_scale: the integer 1/2 over the factor that remainders 64..127 carry.
            complete: unblinded, with formulas for any points; slow.
        """
        tables, count, scalars = self._tables, self._count, self._count * CELLS * CELL_ELEMENTS
        scales = self._scales
        each(
            queue,
            "recode_remainders",
            scalars,
            remainders,
            self._comb.words,
            scalars,
            scales.half,
            upper_scale,
        )
        self._comb.run(queue)
        points, t = count * CELLS, tables.proof.t
        blinding = None if complete else tables.blinding
        image = None if complete else tables.blinding_image
        each(queue, "comb_total", points, self._comb.sums, self._u, t, points, blinding, CELLS)
        queue.clear(self.failed)
        each(queue, "split_parts", points, self._u, self._parts, points)
        if complete:
            each(queue, "convolve_complete", points, self._parts, tables.digits, self._proofs, points)
            outputs, proofs = self._proofs, self._parts
        else:
            self._convolve(queue)
            outputs, proofs = self._parts, self._proofs
        each(queue, "join_parts", points, outputs, self._u, image, proofs, points)
        normalise(queue, proofs, self._affine, points)
        each(queue, "compress_points", points, self._affine, self.out, points)

    def _convolve(self, queue: Queue) -> None:
        """The convolved parts in the place of the parts; `failed` for the rows where points met."""
        count, points = self._count, self._count * CELLS
        expanded = points * 8
        each(queue, "expand_points", points, self._parts, *self._walk, 1, 8, 1, points)
        for walk, affine in zip(self._walk, self._expanded, strict=True):
            normalise(queue, walk, affine, expanded, self.failed, CELLS * 8)
        single, twice = self._expanded
        fill_entries(queue, _MULTIPLES, single, twice, self._entries, points)
        entries = points * _MULTIPLES.entries
        normalise(queue, self._entries, self._multiples, entries, self.failed, entries // count)
        items = points * _SUMS
        each(queue, "convolve", items, self._multiples, self._tables.digits, self._sums, items, self.failed)
        each(queue, "sum_digits", points, self._sums, self._parts, points)
