"""Payload documents."""

from __future__ import annotations

import json
from typing import Any

import pytest

from da.wire import payloads
from da.wire.errors import InvalidDocument
from da.wire.payloads import PayloadInfo
from tests.da.wire import hostile

INFO = PayloadInfo(
    payload_id=bytes(range(32)),
    namespace=b"a".ljust(32, b"\0"),
    status="certified",
    length=3,
    rows=1,
    created=True,
    batch_height=7,
    header_hash=b"h" * 32,
    disperser_id=b"d" * 32,
    reason="because",
    certificate=b"c" * 10,
)


@pytest.mark.parametrize("info", [INFO, PayloadInfo(bytes(32), bytes(32), "queued", 1, 1)])
def test_a_status_comes_back(info: PayloadInfo) -> None:
    assert payloads.decode_bytes(json.dumps(payloads.encode(info)).encode()) == info


def test_every_place_with_every_hostile_value() -> None:
    for _where, changed in hostile.changes(payloads.encode(INFO)):
        try:
            found = payloads.decode_bytes(json.dumps(changed).encode())
        except InvalidDocument:
            continue
        assert found.status in payloads.STATUSES
        assert type(found.length) is type(found.rows) is int


@pytest.mark.parametrize("body", hostile.BODIES, ids=range(len(hostile.BODIES)))
def test_hostile_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidDocument):
        payloads.decode_bytes(body)


@pytest.mark.parametrize("status", ["", "CERTIFIED", "done", 1, None])
def test_there_is_no_other_status(status: Any) -> None:
    document = {**payloads.encode(INFO), "status": status}
    with pytest.raises(InvalidDocument, match="status"):
        payloads.decode_bytes(json.dumps(document).encode())
