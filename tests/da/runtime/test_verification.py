"""Which columns are bad, and how little it takes to say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from da.runtime.verification import bad_columns
from erasure.constants import BYTES_PER_CELL
from erasure.packing import pack
from kzg.engine import Engine

COLUMNS = (3, 5, 64, 90, 127)


class Counting:
    """An engine that counts its verifications."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.calls = 0

    def verify_cells(self, *arguments: Any) -> bool:
        self.calls += 1
        return self._engine.verify_cells(*arguments)


@pytest.fixture(scope="module")
def matrix(engine: Engine) -> tuple[Any, Any]:
    """Commitments of four rows and the records of five columns."""
    blobs = pack(bytes(range(256)) * 1800)
    assert len(blobs) == 4
    cells, proofs = engine.prove(blobs)
    records = np.concatenate([cells, proofs], axis=2).transpose(1, 0, 2)[list(COLUMNS)]
    return engine.commit(blobs), np.ascontiguousarray(records)


def test_right_columns_take_one_verification(engine: Engine, matrix: tuple[Any, Any]) -> None:
    counting = Counting(engine)
    assert bad_columns(counting, matrix[0], COLUMNS, matrix[1]) == {}  # type: ignore[arg-type]
    assert counting.calls == 1
    assert bad_columns(engine, matrix[0], (), matrix[1][:0]) == {}


def test_bad_columns_are_named_with_their_first_bad_row(engine: Engine, matrix: tuple[Any, Any]) -> None:
    commitments, records = matrix[0], matrix[1].copy()
    records[1, 2:, :BYTES_PER_CELL] = 0  # an element of zeros is canonical, and wrong
    records[1, 3, :BYTES_PER_CELL] = 0xFF
    records[3, 1, BYTES_PER_CELL:] = 0xFF
    records[4, 0, 0] = 0xFF
    found = bad_columns(engine, commitments, COLUMNS, records)
    assert {column: row for column, (row, _) in found.items()} == {5: 2, 90: 1, 127: 0}
    assert "does not verify" in found[5][1]
    assert "not a curve point" in found[90][1]
    assert "not a field element" in found[127][1]
    first = bad_columns(engine, commitments, COLUMNS, records, first_only=True)
    assert first == {5: found[5]}


def test_a_commitment_that_is_no_point_makes_all_columns_bad(engine: Engine, matrix: tuple[Any, Any]) -> None:
    commitments = matrix[0].copy()
    commitments[2] = 0xFF
    found = bad_columns(engine, commitments, COLUMNS, matrix[1])
    assert found == dict.fromkeys(COLUMNS, (2, "the row's commitment is not a curve point"))


def test_garbage_does_not_take_a_verification_for_each_cell(engine: Engine, matrix: tuple[Any, Any]) -> None:
    commitments, records = matrix[0], matrix[1].copy()
    records[..., BYTES_PER_CELL:] = records[0, 0, BYTES_PER_CELL:]
    counting = Counting(engine)
    assert bad_columns(counting, commitments, COLUMNS, records, first_only=True) == {  # type: ignore[arg-type]
        3: (1, "the cell's proof does not verify against the row's commitment")
    }
    assert counting.calls <= 3 + 2 + 4
    counting.calls = 0
    assert len(bad_columns(counting, commitments, COLUMNS, records)) == len(COLUMNS)  # type: ignore[arg-type]
    assert counting.calls <= len(COLUMNS) * (3 + 2)
