"""Damage in files: every flipped byte is found by reading and by scrubbing, and can be repaired."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from da.store import CorruptBatch, CorruptRecord, StoreError
from da.store.batch_file import decode_prefix
from tests.da.store.support import DISPERSER, Batch, certificate_of, make_batch

HELD = (0, 5, 127)


@pytest.fixture
def batch(open_store: Callable[..., Any]) -> Batch:
    batch = make_batch(1, rows=3)
    store = open_store()
    batch.put(store)
    store.put_certificate(batch.hash, certificate_of(batch))
    make_batch(2).put(store)
    store.close()
    return batch


def _path(directory: Path, batch: Batch, suffix: str = ".batch") -> Path:
    (path,) = directory.glob(f"buckets/*/{batch.hash.hex()}{suffix}")
    return path


def _flip(path: Path, position: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1 << bit]))


def _data_offset(path: Path) -> int:
    return decode_prefix(path.read_bytes()[:100]).head_bytes


def _record_at(path: Path, position: int) -> tuple[int, int]:
    index = (position - _data_offset(path)) // 2100
    return index % 3, HELD[index // 3]


def test_a_sound_store_has_no_findings(open_store: Callable[..., Any], batch: Batch) -> None:
    store = open_store()
    assert list(store.scrub()) == []
    assert list(store.scrub(batch.hash)) == []


def test_every_flipped_byte_of_a_file_is_found(
    open_store: Callable[..., Any], batch: Batch, directory: Path
) -> None:
    path = _path(directory, batch)
    pristine = path.read_bytes()
    head = _data_offset(path)
    positions = [*range(0, head, 3), *range(head, len(pristine), 301), len(pristine) - 1]
    for position in positions:
        _flip(path, position, position % 8)
        store = open_store()
        findings = list(store.scrub(batch.hash))
        if position < head:
            assert [finding.kind for finding in findings] == ["head"]
            for read in (store.batch, lambda h, s=store: s.read_records(h, [(0, 0)])):
                with pytest.raises(CorruptBatch) as caught:
                    read(batch.hash)
                assert caught.value.part
            states = [record.state for record in store.batches(DISPERSER, 0, 9, False)]
            assert states == ["missing", "live"], "the log can still be listed"
        else:
            row, column = _record_at(path, position)
            assert [(f.kind, f.row, f.column) for f in findings] == [("record", row, column)]
            _check_one_bad_record(store, batch, row, column)
        make_batch(2).check(store)
        store.close()
        path.write_bytes(pristine)


def _check_one_bad_record(store: Any, batch: Batch, bad_row: int, bad_column: int) -> None:
    for column in HELD:
        for row in range(3):
            if (row, column) != (bad_row, bad_column):
                assert store.read_records(batch.hash, [(row, column)]) == [
                    batch.column(column)[row].tobytes()
                ]
    for read in (
        lambda: store.read_records(batch.hash, [(0, 64), (bad_row, bad_column)]),
        lambda: store.read_column(batch.hash, bad_column),
    ):
        with pytest.raises(CorruptRecord) as caught:
            read()
        assert (caught.value.row, caught.value.column) == (bad_row, bad_column)


def test_a_bad_record_is_repaired_by_its_column(
    open_store: Callable[..., Any], batch: Batch, directory: Path
) -> None:
    path = _path(directory, batch)
    _flip(path, _data_offset(path) + 2100 * 4)  # row 1 of column 5
    _flip(path, _data_offset(path) + 2100 * 8)  # row 2 of column 127
    store = open_store()
    store.add_columns(batch.hash, batch.columns((5,)))
    # The other bad record was copied as it was: still bad, still only that one.
    assert [(f.row, f.column) for f in store.scrub(batch.hash)] == [(2, 127)]
    batch.put(store)
    assert list(store.scrub(batch.hash)) == []
    batch.check(store, HELD)


def test_a_bad_head_is_repaired_by_putting_again(
    open_store: Callable[..., Any], batch: Batch, directory: Path
) -> None:
    _flip(_path(directory, batch), 30)
    store = open_store()
    with pytest.raises(CorruptBatch):
        store.add_columns(batch.hash, batch.columns((5,)))
    batch.put(store)
    batch.check(store, HELD)
    assert store.batch(batch.hash).certificate == certificate_of(batch)
    store.close()
    store = open_store()
    assert store.findings == ()
    batch.check(store, HELD)


def test_every_flipped_byte_of_a_certificate_is_found(
    open_store: Callable[..., Any], batch: Batch, directory: Path
) -> None:
    path = _path(directory, batch, ".certificate")
    pristine = path.read_bytes()
    for position in range(0, len(pristine), 2):
        _flip(path, position)
        store = open_store()
        assert [finding.kind for finding in store.scrub(batch.hash)] == ["certificate"]
        with pytest.raises(CorruptBatch, match="certificate"):
            store.batch(batch.hash)
        assert store.read_records(batch.hash, [(0, 0)]) == [batch.column(0)[0].tobytes()]
        store.put_certificate(batch.hash, certificate_of(batch))
        assert store.batch(batch.hash).certificate == certificate_of(batch)
        store.close()
        path.write_bytes(pristine)


def test_every_truncation_of_a_file_is_found(
    open_store: Callable[..., Any], batch: Batch, directory: Path
) -> None:
    path = _path(directory, batch)
    pristine = path.read_bytes()
    for size in (0, 10, 67, 68, _data_offset(path) - 1, _data_offset(path), len(pristine) - 1):
        path.write_bytes(pristine[:size])
        store = open_store()
        assert list(store.scrub(batch.hash))
        with pytest.raises(StoreError):
            store.read_column(batch.hash, 127)
        store.close()
    path.write_bytes(pristine + b"more")
    store = open_store()
    assert [finding.kind for finding in store.scrub(batch.hash)] == ["head"]


def test_a_file_of_another_batch_is_found(
    open_store: Callable[..., Any], batch: Batch, directory: Path
) -> None:
    _path(directory, batch).write_bytes(_path(directory, make_batch(2)).read_bytes())
    store = open_store()
    with pytest.raises(CorruptBatch, match="another batch's"):
        store.batch(batch.hash)
    assert [finding.kind for finding in store.scrub(batch.hash)] == ["head"]


def test_damage_is_found_in_a_running_store(
    open_store: Callable[..., Any], batch: Batch, directory: Path
) -> None:
    # A cached descriptor does not hide it: each record is checked at each read.
    store = open_store()
    batch.check(store, HELD)
    path = _path(directory, batch)
    _flip(path, _data_offset(path))
    with pytest.raises(CorruptRecord):
        store.read_records(batch.hash, [(0, 0)])
    assert np.array_equal(store.read_column(batch.hash, 5), batch.column(5))
