"""Payloads to rows and back, and every way in which rows may fail to be a payload."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erasure.constants import BYTES_PER_BLOB, MAX_PAYLOAD_BYTES
from erasure.errors import ErasureError, InvalidPacking, InvalidPayload, InvalidShape
from erasure.field import Bytes, first_invalid
from erasure.packing import capacity, pack, rows_for, unpack

ONE_ROW = capacity(1)


@pytest.mark.parametrize(
    "length",
    [1, 30, 31, 32, 62, 63, ONE_ROW - 1, ONE_ROW, ONE_ROW + 1, capacity(2), capacity(2) + 1, 615_361],
)
def test_round_trip_at_the_edges(length: int) -> None:
    payload = np.random.default_rng(length).bytes(length)
    blobs = pack(payload)
    assert blobs.shape == (rows_for(length), BYTES_PER_BLOB)
    assert blobs.dtype == np.uint8
    assert blobs.flags.c_contiguous
    assert first_invalid(blobs) is None
    assert unpack(blobs) == payload


def test_largest_payload() -> None:
    payload = bytes([255]) * MAX_PAYLOAD_BYTES
    blobs = pack(payload)
    assert blobs.shape[0] == rows_for(MAX_PAYLOAD_BYTES) == 133
    assert unpack(blobs) == payload


def test_layout() -> None:
    blobs = pack(bytes(range(1, 41)))
    elements = blobs.reshape(-1, 32)
    assert elements[0].tobytes() == bytes([0, 1, 0, 0, 0, 40]) + bytes(26)
    assert elements[1].tobytes() == bytes(range(32))
    assert elements[2].tobytes() == bytes([0, *range(32, 41)]) + bytes(22)
    assert not elements[3:].any()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_kinds_of_bytes(kind: Any) -> None:
    assert unpack(pack(kind(b"payload"))) == b"payload"


def test_capacity_and_rows_agree() -> None:
    assert capacity(1) == 4095 * 31
    for rows in (1, 2, 5, 132):
        assert rows_for(capacity(rows)) == rows
        assert rows_for(capacity(rows) + 1) == rows + 1
    with pytest.raises(InvalidShape):
        capacity(0)


@pytest.mark.parametrize("length", [0, -1, MAX_PAYLOAD_BYTES + 1])
def test_lengths_out_of_range(length: int) -> None:
    with pytest.raises(InvalidPayload) as caught:
        rows_for(length)
    assert (caught.value.length, caught.value.limit) == (length, MAX_PAYLOAD_BYTES)


def test_empty_and_too_long_payloads() -> None:
    with pytest.raises(InvalidPayload):
        pack(b"")
    with pytest.raises(InvalidPayload):
        pack(bytes(MAX_PAYLOAD_BYTES + 1))


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=200), st.integers(0, BYTES_PER_BLOB - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused_or_is_another_payload(
    payload: bytes, position: int, change: int
) -> None:
    """A byte beside the payload is refused; one inside it, or the length, gives the payload it encodes."""
    blobs = pack(payload)
    blobs[0, position] ^= change
    try:
        other = unpack(blobs)
    except InvalidPacking:
        return
    assert other != payload
    np.testing.assert_array_equal(pack(other), blobs)


def changed(payload: bytes, position: int, value: int) -> Bytes:
    blobs = pack(payload)
    blobs.reshape(-1)[position] = value
    return blobs


@pytest.mark.parametrize(
    ("blobs", "reason"),
    [
        (changed(b"abc", 1, 2), "version 2"),
        (changed(b"abc", 1, 0), "version 0"),
        (changed(b"abc", 5, 0), "length 0"),
        (changed(b"abc", 2, 255), "length 4278190083"),
        (changed(b"abc", 3, 4), "need 3 rows, got 1"),
        (changed(b"abc", 5, 2), "after the payload"),
        (changed(b"abc", 0, 1), "beside the payload"),
        (changed(b"abc", 6, 1), "beside the payload"),
        (changed(b"abc", 31, 1), "beside the payload"),
        (changed(b"abc", 32, 1), "beside the payload"),
        (changed(b"abc", 36, 1), "after the payload"),
        (changed(b"abc", BYTES_PER_BLOB - 32, 1), "beside the payload"),
        (changed(b"abc", BYTES_PER_BLOB - 1, 1), "after the payload"),
        (changed(bytes(ONE_ROW + 1), 2 * BYTES_PER_BLOB - 1, 1), "after the payload"),
        (np.concatenate([pack(b"abc"), np.zeros((1, BYTES_PER_BLOB), np.uint8)]), "need 1 rows, got 2"),
        (pack(bytes(ONE_ROW + 1))[:1], "need 2 rows, got 1"),
    ],
)
def test_rows_that_are_no_payload(blobs: Bytes, reason: str) -> None:
    with pytest.raises(InvalidPacking, match=reason):
        unpack(blobs)


@pytest.mark.parametrize(
    "shape", [(BYTES_PER_BLOB,), (0, BYTES_PER_BLOB), (1, BYTES_PER_BLOB - 1), (1, 1, 1)]
)
def test_rows_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidShape):
        unpack(np.zeros(shape, dtype=np.uint8))
    with pytest.raises(InvalidShape):
        unpack(np.zeros((1, BYTES_PER_BLOB), dtype=np.uint16))  # type: ignore[arg-type]


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=64), st.integers(1, 3))
def test_any_bytes_are_decoded_or_refused(head: bytes, rows: int) -> None:
    blobs = np.zeros((rows, BYTES_PER_BLOB), dtype=np.uint8)
    blobs.reshape(-1)[: len(head)] = np.frombuffer(head, dtype=np.uint8)
    try:
        payload = unpack(blobs)
    except ErasureError:
        return
    np.testing.assert_array_equal(pack(payload), blobs)


def test_real_channel(shared_data: Any) -> None:
    payload = shared_data("op_channel_batches.bin").read_bytes()
    blobs = pack(payload)
    assert blobs.shape[0] == 5
    assert unpack(blobs) == payload
