"""Error bodies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from da.wire import errors
from da.wire.errors import InvalidDocument
from tests.da.wire import hostile


def test_an_error_comes_back() -> None:
    document = errors.encode("HeightGap", "send 7 first", {"expected": 7, "hash": b"\x01"})
    assert document == {"error": "HeightGap", "message": "send 7 first", "expected": 7, "hash": "0x01"}
    found = errors.decode(json.dumps(document).encode())
    assert (found.error, found.message) == ("HeightGap", "send 7 first")
    assert found.fields == {"expected": 7, "hash": "0x01"}


def test_a_field_cannot_stand_in_for_the_name() -> None:
    assert errors.encode("PeerRejected", "m", {"error": "Other", "message": "x"})["error"] == "PeerRejected"


@pytest.mark.parametrize("name", ["", "a b", "x\n", "\x1b[31m", "A" * 65, "1A", None, 7, ["A"]])
def test_a_name_is_an_identifier(name: Any) -> None:
    with pytest.raises(InvalidDocument, match="error"):
        errors.decode(json.dumps({"error": name, "message": "m"}).encode())


def test_every_place_with_every_hostile_value() -> None:
    for _where, changed in hostile.changes({"error": "A", "message": "m", "field": [1]}):
        try:
            found = errors.decode(json.dumps(changed).encode())
        except InvalidDocument:
            continue
        assert len(found.message) <= errors.MESSAGE_CHARS_MAX


@pytest.mark.parametrize("body", hostile.BODIES, ids=range(len(hostile.BODIES)))
def test_hostile_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidDocument):
        errors.decode(body)
