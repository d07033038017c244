"""Rows to measure with, and what each operation takes of them: for an engine, and for plain ckzg.

Each operation is one `Operation`: how an engine does it for a whole batch in one call, and how ckzg does it
for a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from benchmarks import peer
from erasure.columns import parity_cells
from erasure.constants import BYTES_PER_BLOB, BYTES_PER_CELL, CELLS_PER_EXT_BLOB
from kzg.engine import Engine
from kzg.folds import fold_columns, fold_commitments, fold_scalars
from kzg.types import Bytes, IndexArray

KEPT: Final = np.arange(0, CELLS_PER_EXT_BLOB, 2)
"""The 64 columns that recovery starts from."""
COLUMN: Final = 77

Cells = tuple[Bytes, IndexArray, Bytes, Bytes]
"""Commitments, indices, cells and proofs, one of each to a cell."""


@dataclass(frozen=True)
class Matrix:
    """Random rows with everything that the operations take."""

    blobs: Bytes
    commitments: Bytes
    cells: Bytes
    proofs: Bytes

    @classmethod
    def random(cls, rows: int, engine: Engine) -> Matrix:
        rng = np.random.default_rng(7594)
        blobs = rng.integers(0, 256, (rows, BYTES_PER_BLOB), dtype=np.uint8)
        blobs.reshape(rows, -1, 32)[:, :, 0] &= 0x3F
        return cls(blobs, engine.commit(blobs), *engine.prove(blobs))

    def __len__(self) -> int:
        return len(self.blobs)

    def head(self, rows: int) -> Matrix:
        return Matrix(self.blobs[:rows], self.commitments[:rows], self.cells[:rows], self.proofs[:rows])

    def row(self, row: int) -> Cells:
        commitments = np.repeat(self.commitments[row : row + 1], CELLS_PER_EXT_BLOB, axis=0)
        return commitments, np.arange(CELLS_PER_EXT_BLOB), self.cells[row], self.proofs[row]

    def all_rows(self) -> Cells:
        indices = np.tile(np.arange(CELLS_PER_EXT_BLOB), len(self))
        commitments = np.repeat(self.commitments, CELLS_PER_EXT_BLOB, axis=0)
        return commitments, indices, self.cells.reshape(-1, BYTES_PER_CELL), self.proofs.reshape(-1, 48)

    def column(self) -> Cells:
        cells, proofs = (np.ascontiguousarray(part[:, COLUMN]) for part in (self.cells, self.proofs))
        return self.commitments, np.full(len(self), COLUMN), cells, proofs

    def kept(self) -> Bytes:
        return np.ascontiguousarray(self.cells[:, KEPT])


def as_lists(cells: Cells) -> peer.Verification:
    """The same for ckzg."""
    commitments, indices, data, proofs = cells
    return (
        [bytes(c) for c in commitments],
        [int(i) for i in indices],
        [bytes(c) for c in data],
        [bytes(p) for p in proofs],
    )


@dataclass(frozen=True)
class Term:
    """A call of ckzg on what `inputs` makes of a row's number; its time counts `sign` times."""

    function: Callable[[Any], object]
    inputs: Callable[[int], Any]
    sign: int = 1


@dataclass(frozen=True)
class Operation:
    """One operation on all rows of a batch.

    `by_engine` is one call for all of them; `by_peer` is what ckzg does for one row, and empty where it has
    no such operation. `slow` says that ckzg takes tens of milliseconds a row.
    """

    name: str
    by_engine: Callable[[Engine], object]
    by_peer: tuple[Term, ...] = ()
    slow: bool = False


def row_operations(m: Matrix) -> list[Operation]:
    """Those whose work is counted in rows."""
    kept, verification = m.kept(), m.all_rows()

    def blob(row: int) -> bytes:
        return bytes(m.blobs[row])

    def known(row: int) -> peer.Recovery:
        return [int(i) for i in KEPT], [bytes(c) for c in kept[row]]

    def lists(row: int) -> peer.Verification:
        return as_lists(m.row(row))

    extend, prove, recover = Term(peer.extend, blob), Term(peer.prove_row, blob), Term(peer.recover, known)
    # ckzg recovers no cells without proving them: its cells' part is what its recovery takes beyond proofs.
    proofs = (replace(prove, sign=-1), extend)
    return [
        Operation("extend", lambda e: e.extend(m.blobs), (extend,)),
        Operation("commit", lambda e: e.commit(m.blobs), (Term(peer.commit, blob),), slow=True),
        Operation("prove", lambda e: e.prove(m.blobs), (prove,), slow=True),
        Operation("verify 128 cells", lambda e: e.verify_cells(*verification), (Term(peer.verify, lists),)),
        Operation("recover cells", lambda e: e.recover(KEPT, kept), (recover, *proofs)),
        Operation(
            "recover cells, proofs", lambda e: e.recover_with_proofs(KEPT, kept), (recover,), slow=True
        ),
    ]


def column_operations(m: Matrix) -> list[Operation]:
    """Those on one column, which has a cell of each row: ckzg does all of it at once, too."""
    column = m.column()
    cells, proofs = column[2].reshape(len(m), 1, -1), column[3]
    lists = as_lists(column)

    def parity(rows: list[int] | None) -> Callable[[Engine], object]:
        return lambda e: (e.parity_cells(cells, rows), e.parity_proofs(proofs, rows))

    return [
        Operation("verify", lambda e: e.verify_cells(*column), (Term(peer.verify, lambda _: lists),)),
        Operation("parity, one cell and proof", parity([0])),
        Operation("parity, all cells and proofs", parity(None), slow=True),
    ]


def fold_operations(m: Matrix) -> list[Operation]:
    """One column and all commitments under one seed; the peer is py_arkworks, as `kzg.folds` calls it."""
    _, _, cells, proofs = m.column()
    scalars = fold_scalars(bytes(32), bytes(32), len(m))[np.newaxis]
    column = (cells[np.newaxis], proofs[np.newaxis], scalars)
    return [
        Operation(
            "fold_columns",
            lambda e: e.fold_columns(*column),
            (Term(lambda given: fold_columns(*given), lambda _: column),),
        ),
        Operation(
            "fold_commitments",
            lambda e: e.fold_commitments(m.commitments, scalars),
            (Term(lambda given: fold_commitments(*given), lambda _: (m.commitments, scalars)),),
        ),
    ]


def check(engine: Engine, m: Matrix) -> None:
    """Every operation of `engine` against plain ckzg on the same rows; at least two of them."""
    blob = m.blobs[0].tobytes()
    cells, proofs = peer.prove_row(blob)
    one = m.head(1)
    assert m.commitments[0].tobytes() == peer.commit(blob), engine.name
    assert (m.cells[0].tobytes(), m.proofs[0].tobytes()) == (cells, proofs), engine.name
    assert engine.extend(one.blobs).tobytes() == cells == peer.extend(blob), engine.name
    assert engine.commit(one.blobs).tobytes() == peer.commit(blob), engine.name
    ours = engine.prove(one.blobs)
    assert (ours[0].tobytes(), ours[1].tobytes()) == (cells, proofs), engine.name
    assert engine.recover(KEPT, one.kept()).tobytes() == cells, engine.name
    recovered = engine.recover_with_proofs(KEPT, one.kept())
    assert (recovered[0].tobytes(), recovered[1].tobytes()) == (cells, proofs), engine.name
    for task in (m.row(0), m.column()):
        assert engine.verify_cells(*task), engine.name
        assert peer.verify(as_lists(task))
        wrong = task[2].copy()
        wrong[0, BYTES_PER_CELL - 1] ^= 1
        assert not engine.verify_cells(task[0], task[1], wrong, task[3]), engine.name
    _check_parity(engine, m.head(2))
    _check_folds(engine, m)


def _check_folds(engine: Engine, m: Matrix) -> None:
    """Folds are those of py_arkworks, and what ckzg takes for a cell of the folded row."""
    scalars = fold_scalars(bytes(32), bytes(32), len(m))[np.newaxis]
    _, _, cells, proofs = m.column()
    column = (cells[np.newaxis], proofs[np.newaxis], scalars)
    (cell, proof), (right_cell, right_proof) = engine.fold_columns(*column), fold_columns(*column)
    assert np.array_equal(cell, right_cell), engine.name
    assert np.array_equal(proof, right_proof), engine.name
    commitment = engine.fold_commitments(m.commitments, scalars)
    assert np.array_equal(commitment, fold_commitments(m.commitments, scalars)), engine.name
    assert peer.verify(as_lists((commitment, np.array([COLUMN]), cell, proof))), engine.name


def _check_parity(engine: Engine, m: Matrix) -> None:
    """Derived cells and proofs of both parity rows are those that ckzg makes of the parity rows."""
    blobs = parity_cells(m.cells)[:, : CELLS_PER_EXT_BLOB // 2].reshape(len(m), -1)
    cells, proofs = (column.reshape(len(m), -1) for column in m.column()[2:])
    derived = engine.parity_cells(cells[:, None]), engine.parity_proofs(proofs)
    assert (engine.parity_proofs(proofs, [1]) == derived[1][1:]).all(), engine.name
    for row, blob in enumerate(blobs):
        of_row = peer.prove_row(blob.tobytes())
        for ours, theirs, size in zip(derived, of_row, (BYTES_PER_CELL, 48), strict=True):
            assert ours[row].tobytes() == theirs[COLUMN * size :][:size], engine.name
