"""Contributions as they travel: every accepted one has one encoding, everything else is refused."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.protocol.push import RECORD_BYTES
from da.wire import contributions
from da.wire.contributions import Cells, ContributionAnswer, Folds
from da.wire.errors import InvalidDocument

SEED = bytes(range(32))


def records(count: int, seed: int = 1) -> np.ndarray:
    data = random.Random(seed).randbytes(count * RECORD_BYTES)
    return np.frombuffer(data, dtype=np.uint8).reshape(count, RECORD_BYTES)


@given(st.sets(st.integers(0, 127), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_folds_come_back(columns: set[int], rng: random.Random) -> None:
    order = rng.sample(sorted(columns), len(columns))
    body = contributions.encode(Folds(SEED, tuple(order), records(len(order))))
    decoded = contributions.decode(body)
    assert isinstance(decoded, Folds)
    assert (decoded.seed, decoded.columns) == (SEED, tuple(order))
    assert np.array_equal(decoded.records, records(len(order)))
    assert contributions.encode(decoded) == body


@given(st.sets(st.tuples(st.integers(0, 511), st.integers(0, 127)), min_size=1, max_size=5))
def test_cells_come_back(pairs: set[tuple[int, int]]) -> None:
    body = contributions.encode(Cells(tuple(sorted(pairs)), records(len(pairs))))
    decoded = contributions.decode(body)
    assert isinstance(decoded, Cells)
    assert decoded.pairs == tuple(sorted(pairs))
    assert contributions.encode(decoded) == body


def test_the_longest_fits_the_limit() -> None:
    cells = Cells(tuple((0, column) for column in range(128)), records(128))
    folds = Folds(SEED, tuple(range(128)), records(128))
    assert len(contributions.encode(cells)) <= contributions.CONTRIBUTION_BYTES_MAX
    assert len(contributions.encode(folds)) <= contributions.CONTRIBUTION_BYTES_MAX


FOLDS = contributions.encode(Folds(SEED, (3, 7), records(2)))
CELLS = contributions.encode(Cells(((0, 3), (5, 7)), records(2)))
SECOND = RECORD_BYTES + 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "kind"),
        (b"\0" + FOLDS[1:], "kind: is 0"),
        (b"\3" + FOLDS[1:], "kind: is 3"),
        (FOLDS[:20], "seed"),
        (FOLDS[:33] + b"\0", "count: is 0"),
        (b"\2\0", "count: is 0"),
        (FOLDS[:33] + b"\x81" + FOLDS[34:], "count: is 129"),
        (FOLDS[:33] + b"\3" + FOLDS[34:], r"column\[2\]"),
        (FOLDS[:-1], r"record\[1\]"),
        (FOLDS + b"\0", "trailing"),
        (CELLS + CELLS, "trailing"),
        (FOLDS[:34] + b"\x80" + FOLDS[35:], "no batch has"),
        (FOLDS[:34] + b"\7" + FOLDS[35:], "two equations"),
        (CELLS[:2] + b"\x02\x00\x03" + CELLS[5:], r"\(512, 3\), which no batch has"),
        (CELLS[:2] + b"\0\5\7" + CELLS[5:], "two equations"),
    ],
)
def test_refused(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidDocument, match=reason):
        contributions.decode(body)


@given(st.binary(max_size=64) | st.integers(0, len(FOLDS)).map(lambda size: FOLDS[:size] + CELLS[size:]))
def test_any_bytes_are_a_contribution_or_refused(body: bytes) -> None:
    try:
        decoded = contributions.decode(body)
    except InvalidDocument:
        return
    assert contributions.encode(decoded) == body


@pytest.mark.parametrize("answer", [ContributionAnswer(0, ()), ContributionAnswer(128, (0, 5, 127))])
def test_answers_come_back(answer: ContributionAnswer) -> None:
    document = json.dumps(contributions.answer_document(answer)).encode()
    assert contributions.decode_answer(document) == answer


@pytest.mark.parametrize(
    "document",
    [
        "[]", '{"taken": 1}', '{"taken": -1, "wanted": []}', '{"taken": 129, "wanted": []}',
        '{"taken": true, "wanted": []}', '{"taken": 1, "wanted": [1, 1]}', '{"taken": 1, "wanted": [2, 1]}',
        '{"taken": 1, "wanted": [128]}', '{"taken": 1, "wanted": [-1]}', '{"taken": 1, "wanted": [1.0]}',
        '{"taken": 1, "wanted": 3}', '{"taken": 1, "wanted": [], "more": 1}', "[" * 5000,
    ],
)  # fmt: skip
def test_answers_refused(document: str) -> None:
    with pytest.raises(InvalidDocument):
        contributions.decode_answer(document.encode())
