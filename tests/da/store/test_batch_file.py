"""The batch file's bytes: every part is found again, and no changed byte passes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.store.batch_file import (
    PREFIX_BYTES,
    STORED_RECORD_BYTES,
    HeadParts,
    corrupt_rows,
    decode_head,
    decode_prefix,
    encode_head,
    open_column,
    open_record,
    seal_column,
)
from da.store.errors import CorruptBatch, CorruptRecord
from tests.da.store.support import make_batch


def _parts(rows: int = 2) -> HeadParts:
    batch = make_batch(3, rows)
    return HeadParts(
        batch.hash,
        batch.header.encode(),
        batch.signature,
        batch.payload_list.encode(),
        batch.commitments.tobytes(),
    )


@given(st.sets(st.integers(0, 127)), st.integers(1, 256), st.integers(0, 2**64 - 1))
def test_head_round_trips(columns: set[int], rows: int, received_ms: int) -> None:
    parts = HeadParts(bytes(32), b"header", bytes(96), b"payload list", bytes(48 * rows))
    held = tuple(sorted(columns))
    data = encode_head(parts, held, received_ms)
    head = decode_head(data)
    assert (head.parts, head.received_ms, head.layout.columns) == (parts, received_ms, held)
    assert head.layout.data_offset == len(data) == decode_prefix(data).head_bytes
    assert head.layout.file_bytes == len(data) + len(held) * rows * STORED_RECORD_BYTES
    offsets = [head.layout.column_offset(column) for column in held]
    assert offsets == [len(data) + i * rows * STORED_RECORD_BYTES for i in range(len(held))]
    assert len(encode_head(parts, (), 0)) == len(data), "columns may be written before the head is known"


def test_every_flipped_bit_of_a_head_is_found() -> None:
    data = encode_head(_parts(1), (0, 64), 1)
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        with pytest.raises(CorruptBatch):
            decode_head(bytes(flipped))


def test_every_truncation_of_a_head_is_found() -> None:
    data = encode_head(_parts(1), (0,), 1)
    for length in range(len(data)):
        with pytest.raises(CorruptBatch):
            decode_head(data[:length])


@given(st.binary(max_size=400))
def test_any_bytes_decode_to_a_head_or_a_typed_error(data: bytes) -> None:
    front = encode_head(_parts(1), (0,), 1)[:PREFIX_BYTES]
    for candidate in (data, front + data):
        try:
            decode_head(candidate)
        except CorruptBatch:
            continue


def test_records_round_trip() -> None:
    records = make_batch(1, 5).column(9)
    stored = seal_column(77, 9, records).tobytes()
    assert np.array_equal(open_column(77, 9, 5, stored), records)
    assert list(corrupt_rows(77, 9, 5, stored)) == []
    for row in range(5):
        start = row * STORED_RECORD_BYTES
        record = stored[start : start + STORED_RECORD_BYTES]
        assert open_record(77, row, 9, record) == records[row].tobytes()


@given(st.integers(0, 3 * STORED_RECORD_BYTES - 1), st.integers(0, 7))
def test_a_flipped_bit_spoils_its_record_alone(position: int, bit: int) -> None:
    stored = bytearray(seal_column(77, 9, make_batch(1, 3).column(9)).tobytes())
    stored[position] ^= 1 << bit
    assert list(corrupt_rows(77, 9, 3, bytes(stored))) == [position // STORED_RECORD_BYTES]
    with pytest.raises(CorruptRecord) as caught:
        open_column(77, 9, 3, bytes(stored))
    assert (caught.value.row, caught.value.column) == (position // STORED_RECORD_BYTES, 9)


@pytest.mark.parametrize(("seed", "row", "column"), [(78, 0, 9), (77, 1, 9), (77, 0, 8)])
def test_a_sound_record_of_another_place_is_found(seed: int, row: int, column: int) -> None:
    stored = seal_column(77, 9, make_batch(1, 1).column(9)).tobytes()
    with pytest.raises(CorruptRecord):
        open_record(seed, row, column, stored)


def test_a_cut_column_is_corrupt_where_it_is_cut() -> None:
    stored = seal_column(77, 9, make_batch(1, 3).column(9)).tobytes()
    assert list(corrupt_rows(77, 9, 3, stored[: 2 * STORED_RECORD_BYTES - 1])) == [1, 2]
