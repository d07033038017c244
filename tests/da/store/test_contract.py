"""What every implementation of the port promises to a node."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from da.protocol.push import RECORD_BYTES
from da.store import (
    Equivocation,
    ExpiredBatch,
    InvalidBatch,
    OutOfRange,
    PrunedHeight,
    StoreClosed,
    UnknownBatch,
)
from da.store.objects import MemoryObjects, Objects
from tests.da.store.conftest import Clock
from tests.da.store.support import DISPERSER, Batch, assert_same_record, certificate_of, make_batch

DAY_S = 86_400
HELD = (0, 5, 127)


@pytest.fixture(params=["directory", "memory"])
def objects(request: pytest.FixtureRequest) -> Objects | None:
    """What the store keeps batches in; the catalogue is the same."""
    return MemoryObjects() if request.param == "memory" else None


# -- putting and reading


def test_a_batch_reads_back_as_it_was_put(store: Any, clock: Clock) -> None:
    batch = make_batch(1, rows=3)
    batch.put(store)
    batch.check(store)
    record = store.batch(batch.hash)
    assert record.received_ms == clock.now_ms
    assert record.certificate is None
    assert not record.commitments.flags.writeable


def test_an_unknown_batch_is_told(store: Any) -> None:
    for ask in (
        lambda: store.batch(bytes(32)),
        lambda: store.read_records(bytes(32), [(0, 0)]),
        lambda: store.read_column(bytes(32), 0),
        lambda: store.put_certificate(bytes(32), b"x"),
        lambda: store.add_columns(bytes(32), []),
        lambda: list(store.scrub(bytes(32))),
    ):
        with pytest.raises(UnknownBatch):
            ask()
    assert store.at_height(DISPERSER, 1) is None
    assert store.latest(DISPERSER) is None
    assert store.batches(DISPERSER, 0, 10, False) == []
    assert store.find_payload(bytes(32)) == []


@pytest.mark.parametrize("rows", [1, 256])
@pytest.mark.parametrize("columns", [(), (64,), tuple(range(0, 128, 17))])
def test_sizes(store: Any, rows: int, columns: tuple[int, ...]) -> None:
    batch = make_batch(1, rows)
    batch.put(store, columns)
    batch.check(store, columns)


def test_all_columns(store: Any) -> None:
    batch = make_batch(1, 1)
    batch.put(store, range(128))
    batch.check(store, range(128))


def test_records_come_in_the_order_asked(store: Any) -> None:
    batch = make_batch(1, rows=3)
    batch.put(store)
    pairs = [(2, 5), (0, 4), (0, 0), (2, 5), (1, 127)]
    expected = [None if c not in HELD else batch.column(c)[r].tobytes() for r, c in pairs]
    assert store.read_records(batch.hash, pairs) == expected
    assert store.read_records(batch.hash, []) == []
    assert store.read_column(batch.hash, 4) is None


@pytest.mark.parametrize("pair", [(3, 0), (-1, 0), (0, -1), (0, 128), (2**70, 2**70)])
def test_a_coordinate_outside_the_batch_is_told(store: Any, pair: tuple[int, int]) -> None:
    batch = make_batch(1, rows=3)
    batch.put(store)
    with pytest.raises(OutOfRange):
        store.read_records(batch.hash, [(0, 0), pair])


@pytest.mark.parametrize("column", [-1, 128, 2**70])
def test_a_column_outside_the_batch_is_told(store: Any, column: int) -> None:
    batch = make_batch(1)
    batch.put(store)
    with pytest.raises(OutOfRange):
        store.read_column(batch.hash, column)


def test_everything_survives_reopening(open_store: Callable[..., Any]) -> None:
    store = open_store()
    batches = [make_batch(height, rows=height) for height in (1, 2, 3)]
    for batch in batches:
        batch.put(store)
    store.put_certificate(batches[1].hash, b"certificate")
    store.close()
    store = open_store()
    for batch in batches:
        batch.check(store)
    assert [store.batch(batch.hash).certificate for batch in batches] == [None, b"certificate", None]


# -- what a write refuses


def _columns(*pairs: tuple[int, Any]) -> Any:
    return iter(pairs)


_GOOD = np.zeros((2, RECORD_BYTES), np.uint8)


@pytest.mark.parametrize(
    "columns",
    [
        [(1, _GOOD), (1, _GOOD)],
        [(2, _GOOD), (1, _GOOD)],
        [(128, _GOOD)],
        [(-1, _GOOD)],
        [(0, _GOOD[:1])],
        [(0, _GOOD[:, 1:])],
        [(0, _GOOD.astype(np.uint16))],
        [(0, _GOOD), (1, _GOOD.reshape(-1))],
    ],
)
def test_bad_columns_are_refused_whole(store: Any, columns: list[tuple[int, Any]]) -> None:
    batch = make_batch(1, rows=2)
    with pytest.raises(InvalidBatch):
        store.put_batch(batch.proposal, iter(columns))
    assert store.at_height(DISPERSER, 1) is None
    batch.put(store)
    with pytest.raises(InvalidBatch):
        store.add_columns(batch.hash, iter(columns))
    batch.check(store)


def test_bad_parts_are_refused(store: Any) -> None:
    batch, other = make_batch(1, rows=2), make_batch(1, rows=3)
    for changed in (
        {"disperser_signature": b"short"},
        {"payload_list": other.payload_list},
        {"commitments": other.commitments},
        {"commitments": batch.commitments.astype(np.int16)},
        {"commitments": batch.commitments[:, 1:]},
    ):
        with pytest.raises(InvalidBatch):
            store.put_batch(replace(batch.proposal, **changed), iter(()))
    assert store.latest(DISPERSER) is None


@pytest.mark.parametrize("size", [0, 2**16 + 1])
def test_a_certificate_of_no_sane_size_is_refused(store: Any, size: int) -> None:
    batch = make_batch(1)
    batch.put(store)
    with pytest.raises(InvalidBatch):
        store.put_certificate(batch.hash, bytes(size))
    assert store.batch(batch.hash).certificate is None


class SenderGone(ConnectionError):
    pass


def test_a_sender_that_breaks_off_leaves_nothing(store: Any) -> None:
    batch = make_batch(1)

    def broken(error: Exception) -> Iterator[tuple[int, Any]]:
        yield 0, batch.column(0)
        raise error

    # An OSError of the stream, even this one, is not the disk's.
    for error in (SenderGone(), OSError(errno.ENOSPC, "the sender's disk is full")):
        with pytest.raises(type(error)):
            store.put_batch(batch.proposal, broken(error))
        assert store.at_height(DISPERSER, 1) is None
        assert store.health().writable
    batch.put(store)
    batch.check(store)


# -- putting again


def test_putting_again_changes_nothing(store: Any) -> None:
    batch = make_batch(1)
    batch.put(store)
    batch.put(store)
    batch.put(store, (5,))
    batch.check(store)


def test_putting_again_adds_columns(store: Any) -> None:
    batch = make_batch(1)
    batch.put(store, (5, 9))
    store.put_certificate(batch.hash, b"certificate")
    batch.put(store, (0, 5, 127))
    batch.check(store, (0, 5, 9, 127))
    assert store.batch(batch.hash).certificate == b"certificate"


def test_putting_again_with_other_bytes_stores_these(store: Any) -> None:
    # The caller verified what it puts; after the put it signs for exactly that.
    batch, other = make_batch(1), make_batch(1, seed=99)
    batch.put(store)
    store.put_batch(batch.proposal, other.columns((5,)))
    assert np.array_equal(store.read_column(batch.hash, 5), other.column(5))
    assert np.array_equal(store.read_column(batch.hash, 0), batch.column(0))


def test_added_columns_are_merged(store: Any) -> None:
    batch = make_batch(1, rows=3)
    batch.put(store, (5, 64))
    assert store.read_records(batch.hash, [(0, 1)]) == [None]
    store.add_columns(batch.hash, batch.columns((1, 64, 100)))
    batch.check(store, (1, 5, 64, 100))
    store.add_columns(batch.hash, iter(()))
    batch.check(store, (1, 5, 64, 100))


def test_added_columns_replace_held_ones(store: Any) -> None:
    batch, other = make_batch(1), make_batch(1, seed=99)
    batch.put(store)
    store.add_columns(batch.hash, other.columns((5,)))
    assert np.array_equal(store.read_column(batch.hash, 5), other.column(5))
    assert store.batch(batch.hash).columns == HELD


# -- heights


def test_a_second_header_at_a_height_is_equivocation(store: Any) -> None:
    first, second = make_batch(4), make_batch(4, seed=99)
    first.put(store)
    touched = []

    def columns() -> Iterator[tuple[int, Any]]:
        touched.append(True)
        yield from second.columns((0,))

    with pytest.raises(Equivocation) as caught:
        store.put_batch(second.proposal, columns())
    assert caught.value.existing_hash == first.hash
    assert not touched, "found before a byte was read"
    assert store.at_height(DISPERSER, 4) == first.hash
    with pytest.raises(UnknownBatch):
        store.batch(second.hash)
    first.check(store)


def test_equivocation_is_found_at_the_commit_too(store: Any) -> None:
    first, second = make_batch(4), make_batch(4, seed=99)

    def overtaken() -> Iterator[tuple[int, Any]]:
        yield 0, second.column(0)
        first.put(store)

    with pytest.raises(Equivocation) as caught:
        store.put_batch(second.proposal, overtaken())
    assert caught.value.existing_hash == first.hash
    first.check(store)


def test_dispersers_have_heights_of_their_own(store: Any) -> None:
    mine, theirs = make_batch(4), make_batch(4, seed=99, disperser_id=b"\xd2" * 32)
    mine.put(store)
    theirs.put(store)
    assert store.at_height(DISPERSER, 4) == mine.hash
    assert store.at_height(b"\xd2" * 32, 4) == theirs.hash
    assert store.latest(DISPERSER).header == mine.header


@pytest.mark.parametrize("height", [-1, 0, 2**64, 2**200])
def test_heights_that_cannot_be_are_free(store: Any, height: int) -> None:
    assert store.at_height(DISPERSER, height) is None


def test_the_greatest_height_there_is(store: Any) -> None:
    batch = make_batch(2**64 - 1)
    batch.put(store)
    assert store.at_height(DISPERSER, 2**64 - 1) == batch.hash
    assert store.latest(DISPERSER).header == batch.header
    assert [r.header for r in store.batches(DISPERSER, 2**64 - 1, 5, False)] == [batch.header]
    assert store.batches(DISPERSER, 2**64, 5, False) == []


# -- lists


def test_batches_come_in_order_of_height(store: Any) -> None:
    batches = {height: make_batch(height) for height in (7, 2, 300, 3)}
    for batch in batches.values():
        batch.put(store)
    for height in (2, 300):
        store.put_certificate(batches[height].hash, b"certificate")

    def heights(*arguments: Any) -> list[int]:
        return [record.header.height for record in store.batches(DISPERSER, *arguments)]

    assert heights(0, 10, False) == [2, 3, 7, 300]
    assert heights(3, 2, False) == [3, 7]
    assert heights(-5, 10, True) == [2, 300]
    assert heights(3, 10, True) == [300]
    assert heights(0, 0, False) == heights(0, -1, False) == []
    assert heights(0, 2**80, False) == [2, 3, 7, 300]
    assert store.latest(DISPERSER).header.height == 300
    assert store.latest(DISPERSER, certified=True).certificate == b"certificate"
    for record in store.batches(DISPERSER, 0, 10, False):
        assert_same_record(record, batches[record.header.height])


def test_the_latest_certified_may_lie_below_the_latest(store: Any) -> None:
    low, high = make_batch(1), make_batch(2)
    low.put(store)
    high.put(store)
    assert store.latest(DISPERSER, certified=True) is None
    store.put_certificate(low.hash, b"certificate")
    assert store.latest(DISPERSER, certified=True).header == low.header
    assert store.latest(DISPERSER).header == high.header


def test_a_payload_is_found_newest_first(store: Any, clock: Clock) -> None:
    first = make_batch(9, rows=2)
    second = replace(first, header=replace(first.header, height=3), seed=9)
    for batch in (first, second):
        batch.put(store)
        clock.forward(1)
    entry = first.payload_list.entries[1]
    found = store.find_payload(entry.payload_id)
    assert [location.header_hash for location in found] == [second.hash, first.hash]
    assert [location.entry for location in found] == [entry, entry]
    assert {location.state for location in found} == {"live"}


# -- certificates


def test_a_certificate_is_stored_and_replaced(open_store: Callable[..., Any]) -> None:
    store = open_store()
    batch = make_batch(1)
    batch.put(store)
    store.put_certificate(batch.hash, b"three signers")
    assert store.batch(batch.hash).certificate == b"three signers"
    store.put_certificate(batch.hash, b"four signers")
    assert store.batch(batch.hash).certificate == b"four signers"
    store.close()
    assert open_store().batch(batch.hash).certificate == b"four signers"


# -- expiry


def test_expiry_drops_whole_buckets(store: Any, clock: Clock) -> None:
    old, young = make_batch(1), make_batch(2)
    old.put(store)
    store.put_certificate(old.hash, certificate_of(old))
    clock.forward(DAY_S)
    young.put(store)
    bucket_end_ms = clock.now_ms  # the day of the first batch ends where the second was put
    assert store.expire(bucket_end_ms + 999, 1000) == 0
    old.check(store)
    assert store.expire(bucket_end_ms + 1000, 1000) == 1
    young.check(store)
    for ask in (
        lambda: store.batch(old.hash),
        lambda: store.read_records(old.hash, [(0, 0)]),
        lambda: store.read_column(old.hash, 0),
        lambda: store.put_certificate(old.hash, b"x"),
        lambda: store.add_columns(old.hash, old.columns((0,))),
        lambda: old.put(store),
        lambda: list(store.scrub(old.hash)),
    ):
        with pytest.raises(ExpiredBatch) as caught:
            ask()
        _check_expired(caught.value.record, old)
    assert store.expire(bucket_end_ms + 1000, 1000) == 0


def test_what_is_kept_moves_along_and_expires_when_it_is_kept_no_more(
    open_store: Callable[..., Any], clock: Clock
) -> None:
    store = open_store()
    kept, gone = make_batch(1), make_batch(2)
    kept.put(store)
    gone.put(store)
    for _ in range(2):
        clock.forward(3 * DAY_S)
        store.expire(clock.now_ms, DAY_S * 1000, [kept.hash, bytes(32), gone.hash[::-1]])
        kept.check(store)
        with pytest.raises(ExpiredBatch):
            store.batch(gone.hash)
        store.close()
        store = open_store()
        kept.check(store)
    store.add_columns(kept.hash, kept.columns((1,)))
    store.put_certificate(kept.hash, certificate_of(kept))
    clock.forward(DAY_S)
    assert store.expire(clock.now_ms, DAY_S * 1000) == 0
    kept.check(store, (0, 1, 5, 127))
    clock.forward(DAY_S)
    assert store.expire(clock.now_ms, DAY_S * 1000) == 1
    _check_expired(store.latest(DISPERSER, certified=True), kept)


def test_a_batch_put_while_the_clock_is_behind_is_kept_from_its_own_time_on(store: Any, clock: Clock) -> None:
    batch = make_batch(1)
    later = replace(batch, header=replace(batch.header, timestamp_ms=clock.now_ms + 9 * DAY_S * 1000))
    later.put(store)
    clock.forward(9 * DAY_S)
    assert store.expire(clock.now_ms, 0) == 0
    later.check(store)
    clock.forward(DAY_S)
    assert store.expire(clock.now_ms, 0) == 1
    endless = make_batch(2)
    endless = replace(endless, header=replace(endless.header, timestamp_ms=2**64 - 1))
    endless.put(store)
    endless.check(store)


def _check_expired(record: Any, batch: Batch) -> None:
    assert record.state == "expired"
    assert record.header == batch.header
    assert record.payload_list == batch.payload_list
    assert record.certificate == certificate_of(batch)
    assert record.columns == ()
    assert record.commitments.shape == (0, 48)
    assert record.disperser_signature == b""


def test_what_expired_stays_in_the_log(open_store: Callable[..., Any], clock: Clock) -> None:
    store = open_store()
    old, young = make_batch(1), make_batch(2)
    old.put(store)
    store.put_certificate(old.hash, certificate_of(old))
    clock.forward(2 * DAY_S)
    young.put(store)
    assert store.expire(clock.now_ms, 0) == 1
    for _ in range(2):
        assert [record.state for record in store.batches(DISPERSER, 1, 10, False)] == ["expired", "live"]
        assert store.at_height(DISPERSER, 1) == old.hash
        _check_expired(store.latest(DISPERSER, certified=True), old)
        (location,) = store.find_payload(old.payload_list.entries[0].payload_id)
        assert (location.header_hash, location.state) == (old.hash, "expired")
        with pytest.raises(Equivocation):
            make_batch(1, seed=99).put(store)
        store.close()
        store = open_store()


def test_tombstones_go_after_their_time_and_heights_stay_taken(
    open_store: Callable[..., Any], clock: Clock
) -> None:
    store = open_store(tombstone_s=10 * DAY_S)
    batches = [make_batch(height) for height in (1, 2, 3)]
    for batch in batches:
        batch.put(store)
        clock.forward(DAY_S)
    assert store.expire(clock.now_ms, 0) == 3
    assert store.at_height(DISPERSER, 1) == batches[0].hash
    store.expire(clock.now_ms + 10 * DAY_S * 1000, 0)
    for _ in range(2):
        assert store.at_height(DISPERSER, 1) is None
        assert store.at_height(DISPERSER, 2) is None
        assert store.find_payload(batches[0].payload_list.entries[0].payload_id) == []
        # The top of the log stays for ever: the next header needs its hash and height.
        assert store.latest(DISPERSER).header == batches[2].header
        for batch in (batches[0], make_batch(2, seed=99)):
            with pytest.raises(PrunedHeight) as caught:
                batch.put(store)
            assert caught.value.pruned_height == 2
        store.close()
        store = open_store(tombstone_s=10 * DAY_S)
    make_batch(4).put(store)


def test_a_clock_set_back_cannot_revive_a_dropped_bucket(
    open_store: Callable[..., Any], clock: Clock
) -> None:
    store = open_store()
    make_batch(1).put(store)
    clock.forward(2 * DAY_S)
    assert store.expire(clock.now_ms, 0) == 1
    clock.forward(-2 * DAY_S)
    batch = make_batch(2)
    batch.put(store)
    store.close()
    batch.check(open_store())


def test_a_put_that_outlives_its_batch_fails_cleanly(store: Any, clock: Clock) -> None:
    batch = make_batch(1)
    batch.put(store, (0,))

    def slow() -> Iterator[tuple[int, Any]]:
        yield 5, batch.column(5)
        clock.forward(2 * DAY_S)
        store.expire(clock.now_ms, 0)

    with pytest.raises(ExpiredBatch):
        store.add_columns(batch.hash, slow())


# -- the rest


def test_a_healthy_store_says_so(store: Any) -> None:
    health = store.health()
    assert (health.writable, health.reason) == (True, None)
    assert store.free_bytes() > 0


def test_a_rebuilt_index_knows_the_same(store: Any) -> None:
    batches = [make_batch(height) for height in (1, 2)]
    for batch in batches:
        batch.put(store)
    store.put_certificate(batches[0].hash, b"certificate")
    store.rebuild_index()
    for batch in batches:
        batch.check(store)
    assert store.latest(DISPERSER, certified=True).certificate == b"certificate"
    make_batch(3).put(store)


def test_a_closed_store_answers_nothing(store: Any) -> None:
    batch = make_batch(1)
    batch.put(store)
    store.close()
    store.close()
    for ask in (
        lambda: store.batch(batch.hash),
        lambda: store.read_records(batch.hash, [(0, 0)]),
        lambda: store.read_column(batch.hash, 0),
        lambda: store.at_height(DISPERSER, 1),
        lambda: store.latest(DISPERSER),
        lambda: store.batches(DISPERSER, 0, 1, False),
        lambda: store.find_payload(bytes(32)),
        lambda: make_batch(2).put(store),
        lambda: batch.put(store),
        lambda: store.add_columns(batch.hash, batch.columns((1,))),
        lambda: store.put_certificate(batch.hash, b"x"),
        lambda: store.expire(0, 0),
        lambda: store.rebuild_index(),
        lambda: store.scrub(),
        lambda: store.health(),
    ):
        with pytest.raises(StoreClosed):
            ask()


def test_a_slow_put_delays_no_other(store: Any) -> None:
    slow, fast = make_batch(1), make_batch(2)
    started, finish = threading.Event(), threading.Event()

    def trickle() -> Iterator[tuple[int, Any]]:
        started.set()
        yield 0, slow.column(0)
        assert finish.wait(30)

    def put_slow() -> None:
        store.put_batch(slow.proposal, trickle())

    thread = threading.Thread(target=put_slow)
    thread.start()
    assert started.wait(30)
    fast.put(store)
    store.put_certificate(fast.hash, b"certificate")
    fast.check(store)
    finish.set()
    thread.join(30)
    slow.check(store, (0,))


def test_many_threads_read_while_columns_are_added(store: Any) -> None:
    batch = make_batch(1, rows=4)
    batch.put(store, (0,))
    expected = {column: batch.column(column) for column in range(24)}
    failures: list[BaseException] = []
    done = threading.Event()

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            while not done.is_set():
                column, row = int(rng.integers(24)), int(rng.integers(4))
                (record,) = store.read_records(batch.hash, [(row, column)])
                assert record is None or record == expected[column][row].tobytes()
                held = store.batch(batch.hash).columns
                assert all(store.read_column(batch.hash, c) is not None for c in held[-1:])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for column in range(1, 24):
        store.add_columns(batch.hash, batch.columns((column,)))
        assert store.batch(batch.hash).columns == tuple(range(column + 1))
    done.set()
    for thread in threads:
        thread.join(30)
    assert not failures
    batch.check(store, range(24))


def test_the_same_batch_put_by_many_threads_is_stored_once(store: Any) -> None:
    batch = make_batch(1)
    barrier = threading.Barrier(4)
    failures: list[BaseException] = []

    def put(column: int) -> None:
        try:
            barrier.wait(30)
            batch.put(store, (column, 100))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=put, args=(column,)) for column in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures
    batch.check(store, (0, 1, 2, 3, 100))
