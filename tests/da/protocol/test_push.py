from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from da.protocol import (
    RECORD_BYTES,
    ColumnPush,
    DecodeError,
    InvalidHeader,
    InvalidProposal,
    InvalidPush,
    ProtocolError,
    PushPrelude,
    encode_prelude,
    push_bytes,
)
from da.protocol.proposal import Proposal
from da.protocol.push import MAX_PRELUDE_BYTES, MAX_PUSH_BYTES
from erasure.constants import MAX_PAYLOAD_BYTES

COLUMNS = (0, 3, 64, 127)
SIGNATURE = bytes(range(96))
PUSH_SIGNATURE = bytes(range(96, 192))


def proposal_of(batch: Any) -> Proposal:
    return Proposal(batch.header, SIGNATURE, batch.payload_list, batch.commitments)


@pytest.fixture(scope="module")
def prelude(batch: Any) -> bytes:
    return encode_prelude(proposal_of(batch), PUSH_SIGNATURE, COLUMNS)


@pytest.fixture(scope="module")
def records(batch: Any) -> np.ndarray:
    shape = (len(COLUMNS), batch.header.row_count, RECORD_BYTES)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def body(prelude: bytes, records: np.ndarray) -> bytes:
    return prelude + records.tobytes()


def test_round_trip(batch: Any, prelude: bytes, body: bytes, records: np.ndarray):
    push = ColumnPush.decode(body)
    assert push.header == batch.header
    assert push.proposal.disperser_signature == SIGNATURE
    assert push.push_signature == PUSH_SIGNATURE
    assert push.proposal.payload_list == batch.payload_list
    assert (push.proposal.commitments == batch.commitments).all()
    assert push.columns == COLUMNS
    assert (push.records == records).all()
    assert push.encode() == body
    assert len(body) == push_bytes(batch.header.row_count, len(COLUMNS), prelude)


def test_streamed_columns_are_the_body(prelude: bytes, body: bytes, records: np.ndarray):
    assert prelude + b"".join(column.tobytes() for column in records) == body


def test_records_are_a_read_only_view_of_the_body(body: bytes):
    buffer = bytearray(body)
    push = ColumnPush.decode(buffer)
    before = int(push.records[-1, -1, -1])
    buffer[-1] ^= 0xFF
    assert push.records[-1, -1, -1] == before ^ 0xFF
    assert not push.records.flags.writeable
    assert push.records.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        push.proposal.commitments[0, 0] = 1


def test_decoding_allocates_no_second_body(batch: Any):
    columns = range(64)
    prelude = encode_prelude(proposal_of(batch), PUSH_SIGNATURE, columns)
    body = prelude + bytes(64 * batch.header.row_count * RECORD_BYTES)
    tracemalloc.start()
    try:
        ColumnPush.decode(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(body) / 4


def test_prelude_can_be_read_before_the_body(prelude: bytes, body: bytes):
    read = PushPrelude.read(body[:MAX_PRELUDE_BYTES])
    assert read.size == len(prelude)
    assert read.body_size == len(body)
    assert read.columns == COLUMNS


def test_no_columns_at_all(batch: Any):
    prelude = encode_prelude(proposal_of(batch), PUSH_SIGNATURE, ())
    push = ColumnPush.decode(prelude)
    assert push.columns == ()
    assert push.records.shape == (0, batch.header.row_count, RECORD_BYTES)
    assert push.encode() == prelude


def test_largest_push_fits_the_limits(
    party: Any, make_batch: Callable[..., Any], make_list: Callable[..., Any]
):
    payloads = [(f"n{i:03d}", 31) for i in range(256)]
    batch = make_batch(party.committee, payloads)
    prelude = encode_prelude(proposal_of(batch), PUSH_SIGNATURE, range(128))
    assert len(prelude) == MAX_PRELUDE_BYTES
    assert push_bytes(256, 128, prelude) == MAX_PUSH_BYTES
    assert len(make_list([("big", MAX_PAYLOAD_BYTES)])[1]) == 133


def test_bodies_of_other_lengths_are_refused(body: bytes):
    for changed in (body[:-1], body + b"\0", body[: len(body) - RECORD_BYTES]):
        with pytest.raises(InvalidPush) as caught:
            ColumnPush.decode(changed)
        assert caught.value.field == "body"


def test_bodies_cut_within_the_prelude_are_refused(prelude: bytes):
    for size in range(0, len(prelude), 7):
        with pytest.raises(ProtocolError):
            ColumnPush.decode(prelude[:size])


@pytest.mark.parametrize("columns", [(1, 1), (2, 1), (0, 128), (255,)])
def test_columns_out_of_order_or_range_are_refused(prelude: bytes, batch: Any, columns: tuple[int, ...]):
    head = prelude[: len(prelude) - 1 - len(COLUMNS)]
    size = len(columns) * batch.header.row_count * RECORD_BYTES
    with pytest.raises(InvalidPush) as caught:
        ColumnPush.decode(head + bytes([len(columns), *columns]) + bytes(size))
    assert caught.value.field == "columns"
    with pytest.raises(InvalidPush):
        encode_prelude(proposal_of(batch), PUSH_SIGNATURE, columns)


def test_negative_columns_are_refused(batch: Any):
    with pytest.raises(InvalidPush):
        encode_prelude(proposal_of(batch), PUSH_SIGNATURE, (-1,))


def test_more_columns_than_there_are_is_refused(prelude: bytes):
    head = prelude[: len(prelude) - 1 - len(COLUMNS)]
    with pytest.raises((DecodeError, InvalidPush)):
        ColumnPush.decode(head + b"\xff" + bytes(10))


def test_a_signature_of_another_size_is_not_sent(batch: Any):
    with pytest.raises(InvalidPush, match="96"):
        encode_prelude(replace(proposal_of(batch), disperser_signature=bytes(95)), PUSH_SIGNATURE, ())


def test_contents_are_received_and_not_verified(body: bytes, batch: Any):
    changed = bytearray(body)
    changed[188 + 2 * 96 + 2 + len(batch.payload_list.entries) * 72] ^= 1
    received = ColumnPush.decode(changed).proposal
    with pytest.raises(InvalidProposal) as caught:
        received.verify_contents()
    assert caught.value.check == "commitments_root"


def test_a_huge_row_count_costs_nothing(body: bytes):
    changed = bytearray(body)
    changed[122:124] = b"\xff\xff"
    with pytest.raises(InvalidHeader) as caught:
        ColumnPush.decode(changed)
    assert caught.value.field == "row_count"
