"""The query for folds: encoded, decoded, and refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.wire import folds
from da.wire.errors import InvalidDocument

SEED = bytes(range(32))
TEXT = "0x" + SEED.hex()


@given(
    st.lists(st.integers(0, 127), min_size=1, max_size=128, unique=True), st.binary(min_size=32, max_size=32)
)
def test_a_query_comes_back(columns: list[int], seed: bytes) -> None:
    body = folds.encode_query(seed, columns)
    assert folds.decode_query(body) == folds.FoldsQuery(seed, tuple(columns))
    assert len(json.dumps(json.loads(body), indent=1)) <= folds.QUERY_BYTES_MAX


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"columns": [1]}, "seed"),
        ({"seed": TEXT}, "columns"),
        ({"seed": TEXT[:-2], "columns": [1]}, "seed"),
        ({"seed": TEXT + "00", "columns": [1]}, "seed"),
        ({"seed": TEXT.upper(), "columns": [1]}, "seed"),
        ({"seed": 5, "columns": [1]}, "seed"),
        ({"seed": TEXT, "columns": []}, "columns"),
        ({"seed": TEXT, "columns": [5, 5]}, "columns"),
        ({"seed": TEXT, "columns": [128]}, r"columns\[0\]"),
        ({"seed": TEXT, "columns": [0, -1]}, r"columns\[1\]"),
        ({"seed": TEXT, "columns": [True]}, r"columns\[0\]"),
        ({"seed": TEXT, "columns": [1.0]}, r"columns\[0\]"),
        ({"seed": TEXT, "columns": [*range(128), 0]}, "columns"),
        ({"seed": TEXT, "columns": 3}, "columns"),
        ({"seed": TEXT, "columns": [1], "rows": [1]}, "rows"),
        ([], "document"),
    ],
)
def test_refused(document: object, field: str) -> None:
    with pytest.raises(InvalidDocument, match=f"^{field}"):
        folds.decode_query(json.dumps(document).encode())


def test_fewer_columns_may_be_the_most() -> None:
    body = folds.encode_query(SEED, range(9))
    assert len(folds.decode_query(body, 9).columns) == 9
    with pytest.raises(InvalidDocument, match="at most 8"):
        folds.decode_query(body, 8)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_query_or_refused(body: bytes) -> None:
    with pytest.raises(InvalidDocument):
        folds.decode_query(body)
