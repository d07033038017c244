"""The query for cells and its binary answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.protocol.push import RECORD_BYTES
from da.wire import cells
from da.wire.cells import CORRUPT, NOT_HELD, CellAnswer, Record
from da.wire.errors import InvalidDocument
from tests.da.wire import hostile

ANSWERS = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=1).map(lambda byte: Record(byte * RECORD_BYTES)),
        st.sampled_from([NOT_HELD, CORRUPT]),
    ),
    max_size=5,
)
PAIRS = st.lists(st.tuples(st.integers(0, 511), st.integers(0, 127)), min_size=1, max_size=8)


@given(ANSWERS)
def test_answers_come_back(answers: list[CellAnswer]) -> None:
    body = cells.encode_answer(answers)
    assert cells.decode_answer(body, len(answers)) == answers
    assert len(body) <= cells.answer_bytes_max(len(answers))


@given(ANSWERS, st.data())
def test_a_body_of_any_other_length_is_refused(answers: list[CellAnswer], data: st.DataObject) -> None:
    body = cells.encode_answer(answers)
    cut = data.draw(st.integers(0, len(body)))
    for changed, count in (
        (body[:cut], len(answers)),
        (body + b"\1", len(answers)),
        (body, len(answers) + 1),
    ):
        if changed == body and count == len(answers):
            continue
        with pytest.raises(InvalidDocument):
            cells.decode_answer(changed, count)


@given(st.integers(3, 255))
def test_an_unknown_mark_is_refused(mark: int) -> None:
    with pytest.raises(InvalidDocument, match=f"mark {mark}"):
        cells.decode_answer(bytes([mark]) + bytes(RECORD_BYTES), 1)


@given(st.binary(max_size=60), st.integers(0, 20))
def test_any_bytes_are_an_answer_or_refused(body: bytes, count: int) -> None:
    try:
        answers = cells.decode_answer(body, count)
    except InvalidDocument:
        return
    assert cells.encode_answer(answers) == body


@given(PAIRS)
def test_queries_come_back(pairs: list[tuple[int, int]]) -> None:
    body = cells.encode_query(pairs)
    assert cells.decode_query(body, len(pairs)) == pairs
    assert len(body) <= cells.query_bytes_max(len(pairs))


@pytest.mark.parametrize(
    "document",
    [
        {"cells": []},
        {"cells": [[0, 0]] * 9},
        {"cells": [[0]]},
        {"cells": [[0, 0, 0]]},
        {"cells": [[0, 128]]},
        {"cells": [[512, 0]]},
        {"cells": [[-1, 0]]},
        {"cells": [[0.0, 0]]},
        {"cells": [[True, 0]]},
        {"cells": [["0", 0]]},
        {"cells": {"0": 0}},
        {"cells": [[0, 0]], "more": 1},
        {},
        [[0, 0]],
    ],
)
def test_other_queries_are_refused(document: object) -> None:
    with pytest.raises(InvalidDocument):
        cells.decode_query(json.dumps(document).encode(), 8)


@pytest.mark.parametrize("body", hostile.BODIES, ids=range(len(hostile.BODIES)))
def test_hostile_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidDocument):
        cells.decode_query(body, 8)
