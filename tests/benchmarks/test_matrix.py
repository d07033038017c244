"""Nothing is timed that is wrong: the check finds an engine that errs in any operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from benchmarks import peer
from benchmarks.matrix import Matrix, check, column_operations, fold_operations, row_operations
from gpu import EngineOptions, open_engine
from kzg.engine import Engine

OPERATIONS = (
    "commit",
    "extend",
    "prove",
    "recover",
    "recover_with_proofs",
    "verify_cells",
    "parity_cells",
    "parity_proofs",
    "fold_columns",
    "fold_commitments",
)


class Wrong:
    """An engine whose answers to one operation are wrong in one place."""

    name = "wrong"

    def __init__(self, engine: Engine, operation: str) -> None:
        self._engine, self._operation = engine, operation

    def __getattr__(self, name: str) -> Any:
        right: Callable[..., Any] = getattr(self._engine, name)
        if name != self._operation:
            return right

        def wrong(*arguments: Any) -> Any:
            answer = right(*arguments)
            if isinstance(answer, bool):
                return True
            whole = answer[-1] if isinstance(answer, tuple) else answer
            whole[..., -1] ^= 1
            return answer

        return wrong


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    peer.load_setup(0)
    with open_engine(EngineOptions(workers=1, table="small")) as opened:
        yield opened


@pytest.fixture(scope="module")
def matrix(engine: Engine) -> Matrix:
    return Matrix.random(2, engine)


def test_a_right_engine_passes(engine: Engine, matrix: Matrix) -> None:
    check(engine, matrix)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_wrong_answer_is_found(engine: Engine, matrix: Matrix, operation: str) -> None:
    with pytest.raises(AssertionError):
        check(Wrong(engine, operation), matrix)


def test_engine_and_peer_do_the_same_work(engine: Engine, matrix: Matrix) -> None:
    for operation in [*row_operations(matrix), *column_operations(matrix)]:
        ours = operation.by_engine(engine)
        if not operation.by_peer:
            continue
        term = operation.by_peer[0]
        theirs = term.function(term.inputs(1))
        if operation.name == "recover cells":
            ours, theirs = (ours,), theirs[:1]
        if isinstance(theirs, bool):
            assert ours is theirs is True, operation.name
            continue
        pairs = zip(ours, theirs, strict=True) if isinstance(ours, tuple) else [(ours, theirs)]
        for all_rows, row in pairs:
            assert np.asarray(all_rows)[1].tobytes() == row, operation.name


def test_engine_and_peer_fold_alike(engine: Engine, matrix: Matrix) -> None:
    for operation in fold_operations(matrix):
        (term,) = operation.by_peer
        ours, theirs = operation.by_engine(engine), term.function(term.inputs(0))
        assert np.array_equal(np.concatenate(ours, axis=-1), np.concatenate(theirs, axis=-1)), operation.name
