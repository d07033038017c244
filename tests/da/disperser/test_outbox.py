"""The outbox: accepted once means kept until a batch has it, whatever happens to the process or the disk."""

from __future__ import annotations

import errno
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from da.disperser.outbox import (
    CorruptPayload,
    Key,
    Outbox,
    OutboxEntry,
    OutboxReadOnly,
    PayloadGone,
    State,
    UnknownPayload,
)
from da.disperser.outbox_entry import decode_payload_file, encode_payload_file, queued_entry
from da.store.errors import StoreLocked, StoreReadOnly
from tests.da.store.support import Crash, FaultyFilesystem

NAMESPACE = b"rollup".ljust(32, b"\x00")
ROOT = Path(__file__).parents[3]


def _payload(number: int) -> bytes:
    return sha256(number.to_bytes(8, "big")).digest() * (1 + number % 5)


def _commitments(number: int) -> Any:
    return np.full((1 + number % 3, 48), number % 256, np.uint8)


def _key(number: int) -> Key:
    return NAMESPACE, sha256(_payload(number)).digest()


def _put(outbox: Outbox, number: int) -> bool:
    return outbox.put(*_key(number), _payload(number), _commitments(number))


def _check_queued(outbox: Outbox, number: int) -> None:
    entry = outbox.entry(*_key(number))
    assert entry.state == State.QUEUED
    assert entry.length == len(_payload(number))
    assert np.array_equal(entry.commitments, _commitments(number))
    assert outbox.payload(_key(number)) == _payload(number)


def _facts(entry: OutboxEntry) -> tuple[Any, ...]:
    """An entry's fields, comparable."""
    fields = (getattr(entry, name) for name in OutboxEntry.__slots__ if name != "commitments")
    return (*fields, entry.commitments.tobytes())


class Clock:
    now_ms = 1_795_305_600_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_outbox(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Outbox]]:
    """A function that opens the outbox of this test, each time the same; open ones are closed at the end."""
    opened: list[Outbox] = []

    def open_one(**options: Any) -> Outbox:
        outbox = Outbox(tmp_path / "outbox", **{"now_ms": clock, **options})
        opened.append(outbox)
        return outbox

    yield open_one
    for outbox in opened:
        outbox.close()


@pytest.fixture
def outbox(open_outbox: Callable[..., Outbox]) -> Outbox:
    return open_outbox()


# -- the life of a payload


def test_a_payload_is_accepted_once(open_outbox: Callable[..., Outbox], clock: Clock) -> None:
    outbox = open_outbox()
    assert _put(outbox, 1)
    assert not _put(outbox, 1)
    for _ in range(2):
        _check_queued(outbox, 1)
        (entry,) = outbox.pending()
        assert entry.key == _key(1)
        assert (entry.has_payload, entry.created_ms, entry.updated_ms) == (True, clock.now_ms, clock.now_ms)
        assert (entry.header_hash, entry.reason) == (None, None)
        assert outbox.total_bytes == len(_payload(1))
        outbox.close()
        outbox = open_outbox()


def test_what_is_unknown_is_told(outbox: Outbox) -> None:
    for ask in (
        lambda: outbox.entry(*_key(1)),
        lambda: outbox.payload(_key(1)),
        lambda: outbox.mark(_key(1), State.FAILED),
    ):
        with pytest.raises(UnknownPayload) as caught:
            ask()
        assert caught.value.key == _key(1)
    assert outbox.find(_key(1)[1]) == []
    assert outbox.pending() == []
    assert outbox.total_bytes == 0


def test_states_survive_reopening(open_outbox: Callable[..., Outbox], clock: Clock) -> None:
    outbox = open_outbox()
    for number in range(5):
        _put(outbox, number)
    clock.now_ms += 5
    outbox.mark(_key(1), State.ENCODING)
    outbox.mark(_key(2), State.DISPERSING, header_hash=b"h" * 32)
    outbox.mark(_key(3), State.DISPERSING, header_hash=b"i" * 32)
    outbox.mark(_key(3), State.CERTIFIED)
    outbox.mark(_key(4), State.FAILED, reason="it did not fit")
    before = [_facts(outbox.entry(*_key(number))) for number in range(5)]
    outbox.close()
    outbox = open_outbox()
    entries = [outbox.entry(*_key(number)) for number in range(5)]
    assert [_facts(entry) for entry in entries] == before
    assert [entry.state for entry in entries] == list(State)
    assert [entry.header_hash for entry in entries] == [None, None, b"h" * 32, b"i" * 32, None]
    assert [entry.reason for entry in entries] == [None] * 4 + ["it did not fit"]
    assert entries[1].updated_ms == entries[1].created_ms + 5
    assert [entry.key for entry in outbox.pending()] == [_key(0), _key(1), _key(2)]


def test_pending_is_in_the_order_of_acceptance(outbox: Outbox) -> None:
    for number in (5, 1, 9, 3):
        _put(outbox, number)
    outbox.mark(_key(9), State.DISPERSING)  # being written again moves nothing
    outbox.mark(_key(5), State.CERTIFIED)
    _put(outbox, 5)
    assert [entry.key for entry in outbox.pending()] == [_key(n) for n in (1, 9, 3, 5)]


def test_the_same_payload_in_two_namespaces_is_two_entries(outbox: Outbox) -> None:
    (_, payload_id), other = _key(1), b"other".ljust(32, b"\x00")
    _put(outbox, 1)
    assert outbox.put(other, payload_id, _payload(1), _commitments(1))
    assert [entry.namespace for entry in outbox.find(payload_id)] == [other, NAMESPACE]
    outbox.mark((other, payload_id), State.FAILED, reason="x")
    _check_queued(outbox, 1)


def test_removed_bytes_are_gone_and_the_entry_stays(
    open_outbox: Callable[..., Outbox], tmp_path: Path
) -> None:
    outbox = open_outbox()
    _put(outbox, 1)
    _put(outbox, 2)
    outbox.mark(_key(1), State.CERTIFIED)
    for _ in range(2):
        with pytest.raises(PayloadGone):
            outbox.payload(_key(1))
        assert outbox.entry(*_key(1)).state == State.CERTIFIED
        assert outbox.total_bytes == len(_payload(2))
        assert len(list((tmp_path / "outbox" / "payloads").iterdir())) == 1
        outbox.close()
        outbox = open_outbox()


def test_a_removal_that_was_cut_off_is_finished(open_outbox: Callable[..., Outbox], tmp_path: Path) -> None:
    outbox = open_outbox()
    _put(outbox, 1)
    path = _payload_file(tmp_path, 1)
    data = path.read_bytes()
    outbox.mark(_key(1), State.CERTIFIED)
    outbox.close()
    path.write_bytes(data)  # the row said so, the file was still there
    outbox = open_outbox()
    assert not path.exists()
    assert not outbox.entry(*_key(1)).has_payload


@pytest.mark.parametrize("end", [State.CERTIFIED, State.FAILED])
def test_a_finished_payload_gives_its_bytes_back_and_may_come_again(outbox: Outbox, end: State) -> None:
    _put(outbox, 1)
    outbox.mark(_key(1), end, reason="first time")
    assert outbox.total_bytes == 0
    with pytest.raises(PayloadGone):
        outbox.payload(_key(1))
    assert _put(outbox, 1)
    _check_queued(outbox, 1)
    assert outbox.entry(*_key(1)).reason is None


def test_finished_entries_are_forgotten_after_their_time(
    open_outbox: Callable[..., Outbox], clock: Clock
) -> None:
    outbox = open_outbox(keep_s=10)
    for number in range(3):
        _put(outbox, number)
    outbox.mark(_key(0), State.CERTIFIED)
    clock.now_ms += 10_000
    outbox.mark(_key(1), State.CERTIFIED)
    assert outbox.entry(*_key(0)).state == State.CERTIFIED
    clock.now_ms += 1
    outbox.mark(_key(1), State.CERTIFIED)
    with pytest.raises(UnknownPayload):
        outbox.entry(*_key(0))
    _check_queued(outbox, 2)


def test_an_outbox_has_one_owner(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox()
    with pytest.raises(StoreLocked):
        open_outbox()
    outbox.close()
    outbox.close()
    open_outbox()


def test_many_threads_put_the_same_payload_once(outbox: Outbox) -> None:
    barrier = threading.Barrier(4)
    results: list[bool] = []

    def put() -> None:
        barrier.wait(30)
        results.append(_put(outbox, 1))

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == [False, False, False, True]
    _check_queued(outbox, 1)


# -- damage


def test_every_flipped_byte_or_cut_of_a_payload_file_is_found() -> None:
    data = encode_payload_file(_key(1), _payload(1), _commitments(1), 5)
    entry, payload = decode_payload_file(data, _key(1))
    assert payload == _payload(1)
    assert _facts(entry) == _facts(queued_entry(_key(1), len(payload), _commitments(1), 5))
    for position in range(len(data)):
        for changed in (
            data[:position],
            data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :],
        ):
            with pytest.raises(CorruptPayload):
                decode_payload_file(changed, _key(1))
    with pytest.raises(CorruptPayload):
        decode_payload_file(data, _key(2))


def _payload_file(tmp_path: Path, number: int) -> Path:
    (path,) = tmp_path.glob(f"outbox/payloads/*{_key(number)[1].hex()}*")
    return path


def test_damaged_bytes_are_told(outbox: Outbox, tmp_path: Path) -> None:
    _put(outbox, 1)
    path = _payload_file(tmp_path, 1)
    data = path.read_bytes()
    path.write_bytes(data[:-9] + b"!" + data[-8:])
    with pytest.raises(CorruptPayload, match="checksum"):
        outbox.payload(_key(1))
    path.unlink()
    with pytest.raises(CorruptPayload, match="is gone"):
        outbox.payload(_key(1))


def test_lost_bytes_fail_the_payload_at_the_next_opening(
    open_outbox: Callable[..., Outbox], tmp_path: Path
) -> None:
    outbox = open_outbox()
    for number in (1, 2):
        _put(outbox, number)
        _payload_file(tmp_path, number).unlink()
    outbox.mark(_key(2), State.DISPERSING, header_hash=b"h" * 32)
    outbox.close()
    outbox = open_outbox()
    entries = [outbox.entry(*_key(number)) for number in (1, 2)]
    assert [entry.state for entry in entries] == [State.FAILED, State.DISPERSING]
    assert entries[0].reason == "the stored bytes were lost"
    assert outbox.total_bytes == 0


def test_a_lost_database_is_made_anew_from_the_files(
    open_outbox: Callable[..., Outbox], tmp_path: Path, clock: Clock
) -> None:
    outbox = open_outbox()
    for number in (5, 1, 9):
        _put(outbox, number)
        clock.now_ms += 1
    before = [_facts(entry) for entry in outbox.pending()]
    outbox.close()
    for path in tmp_path.glob("outbox/outbox.db*"):
        path.unlink()
    outbox = open_outbox()
    assert [_facts(entry) for entry in outbox.pending()] == before


@pytest.mark.parametrize(
    "flips", [150, pytest.param(4000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_no_flipped_byte_of_the_database_goes_unnoticed(
    open_outbox: Callable[..., Outbox], tmp_path: Path, flips: int
) -> None:
    outbox = open_outbox()
    for number in range(3):
        _put(outbox, number)
    before = [_facts(entry) for entry in outbox.pending()]
    outbox.close()
    directory, pristine = tmp_path / "outbox", tmp_path / "pristine"
    shutil.copytree(directory, pristine)
    size = (directory / "outbox.db").stat().st_size
    for position in range(0, size, max(1, size // flips)):
        shutil.rmtree(directory)
        shutil.copytree(pristine, directory)
        data = bytearray((directory / "outbox.db").read_bytes())
        data[position] ^= 1 << position % 8
        (directory / "outbox.db").write_bytes(data)
        outbox = open_outbox()
        # Made within one millisecond, so a new database may order them otherwise.
        assert sorted(_facts(entry) for entry in outbox.pending()) == sorted(before), f"byte {position}"
        outbox.close()


def test_files_that_make_no_sense_are_set_aside(open_outbox: Callable[..., Outbox], tmp_path: Path) -> None:
    payloads = tmp_path / "outbox" / "payloads"
    open_outbox().close()
    (payloads / "note.payload").write_bytes(b"?")
    (payloads / ("ab" * 64 + ".payload")).write_bytes(b"?" * 200)
    outbox = open_outbox()
    assert outbox.pending() == []
    assert sorted(path.suffix for path in payloads.iterdir()) == [".damaged", ".damaged"]


# -- crashes


def _points(open_outbox: Callable[..., Outbox], action: Callable[[Outbox], object]) -> int:
    fs = FaultyFilesystem()
    outbox = open_outbox(filesystem=fs)
    fs.calls.clear()
    action(outbox)
    outbox.close()
    return len(fs.calls)


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_a_put_cut_off_anywhere_is_whole_or_absent(open_outbox: Callable[..., Outbox], late: bool) -> None:
    points = _points(open_outbox, lambda outbox: _put(outbox, 100))
    assert points == 5
    for number in range(points):
        fs = FaultyFilesystem()
        outbox = open_outbox(filesystem=fs)
        fs.arm(number, Crash, late=late)
        with pytest.raises(Crash):
            _put(outbox, number)
        outbox.close()
        outbox = open_outbox()
        if _key(number) in [entry.key for entry in outbox.pending()]:
            _check_queued(outbox, number)
        else:
            assert _put(outbox, number)
        _check_queued(outbox, number)
        outbox.close()


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_no_room_anywhere_in_a_put_leaves_nothing(
    open_outbox: Callable[..., Outbox], tmp_path: Path, late: bool
) -> None:
    points = _points(open_outbox, lambda outbox: _put(outbox, 100))
    fs = FaultyFilesystem()
    outbox = open_outbox(filesystem=fs)
    for number in range(points):
        fs.arm(number, errno.ENOSPC, late=late)
        with pytest.raises(OutboxReadOnly):
            _put(outbox, number)
        with pytest.raises(UnknownPayload):
            outbox.entry(*_key(number))
        assert not list((tmp_path / "outbox" / "staging").iterdir())
        assert _put(outbox, number)
        _check_queued(outbox, number)


def test_below_the_watermark_nothing_is_put(open_outbox: Callable[..., Outbox]) -> None:
    fs = FaultyFilesystem()
    outbox = open_outbox(filesystem=fs, reserve_bytes=1000)
    _put(outbox, 1)
    fs.free = 999
    with pytest.raises(StoreReadOnly, match="disk full"):  # both trees of errors know it
        _put(outbox, 2)
    _check_queued(outbox, 1)
    outbox.mark(_key(1), State.CERTIFIED)
    fs.free = 10**6
    assert _put(outbox, 2)


def test_a_full_database_leaves_nothing(open_outbox: Callable[..., Outbox], tmp_path: Path) -> None:
    outbox = open_outbox()
    connection = outbox._table._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutboxReadOnly, match="full"):
        outbox.put(*_key(1), b"x", np.zeros((256, 48), np.uint8))
    assert outbox.pending() == []
    assert not list((tmp_path / "outbox" / "payloads").iterdir())
    connection.execute("PRAGMA max_page_count = 1073741823")
    assert _put(outbox, 1)


_WRITER = """
import sys
from itertools import count
from da.disperser.outbox import Outbox, State
from tests.da.disperser.test_outbox import _key, _put
outbox = Outbox(sys.argv[1])
for number in count(int(sys.argv[2])):
    _put(outbox, number)
    print("put", number, flush=True)
    if number % 2:
        outbox.mark(_key(number), State.CERTIFIED, header_hash=b"h" * 32)
        print("certified", number, flush=True)
"""


@pytest.mark.parametrize("rounds", [3, pytest.param(40, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_what_was_accepted_survives_kill_9(tmp_path: Path, rounds: int) -> None:
    rng = random.Random(7)
    promised: dict[int, str] = {}
    for _ in range(rounds):
        first = max(promised, default=-1) + 2
        command = [sys.executable, "-c", _WRITER, str(tmp_path / "outbox"), str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline()]
            killer = threading.Timer(rng.uniform(0, 0.1), writer.send_signal, (signal.SIGKILL,))
            killer.start()
            lines += writer.stdout.readlines()
            killer.join()
        assert writer.returncode == -signal.SIGKILL
        for what, number in (line.split() for line in lines if line.endswith("\n")):
            promised[int(number)] = what
        with closing(Outbox(tmp_path / "outbox")) as outbox:
            for number, what in promised.items():
                entry = outbox.entry(*_key(number))
                if what == "certified":
                    assert (entry.state, entry.has_payload) == (State.CERTIFIED, False)
                if entry.has_payload:
                    assert outbox.payload(_key(number)) == _payload(number)
                else:
                    assert entry.header_hash == b"h" * 32
    assert len(promised) > rounds


# -- any sequence of calls, against a dictionary

_numbers = st.integers(0, 4)


class OutboxMachine(RuleBasedStateMachine):
    """The outbox and the model, side by side."""

    @initialize()
    def open(self) -> None:
        self.temporary = tempfile.TemporaryDirectory()
        self.model: dict[int, tuple[State, bool]] = {}  # state, and whether the bytes are there
        self.order: list[int] = []
        self.outbox = Outbox(self.temporary.name)

    def teardown(self) -> None:
        self.outbox.close()
        self.temporary.cleanup()

    @rule(number=_numbers)
    def put(self, number: int) -> None:
        new = number not in self.model or self.model[number][0] in (State.CERTIFIED, State.FAILED)
        assert _put(self.outbox, number) == new
        if new:
            self.model[number] = (State.QUEUED, True)
            self.order = [other for other in self.order if other != number] + [number]

    @rule(number=_numbers, state=st.sampled_from(State))
    def mark(self, number: int, state: State) -> None:
        if number not in self.model:
            with pytest.raises(UnknownPayload):
                self.outbox.mark(_key(number), state)
            return
        self.outbox.mark(_key(number), state)
        finished = state in (State.CERTIFIED, State.FAILED)
        self.model[number] = (state, self.model[number][1] and not finished)

    @rule()
    def reopen(self) -> None:
        self.outbox.close()
        self.outbox = Outbox(self.temporary.name)

    @invariant()
    def agrees_with_the_model(self) -> None:
        for number, (state, has_payload) in self.model.items():
            entry = self.outbox.entry(*_key(number))
            assert (entry.state, entry.has_payload) == (state, has_payload)
            if has_payload:
                assert self.outbox.payload(_key(number)) == _payload(number)
            else:
                with pytest.raises(PayloadGone):
                    self.outbox.payload(_key(number))
        pending = [n for n in self.order if self.model[n][0] not in (State.CERTIFIED, State.FAILED)]
        assert [entry.key for entry in self.outbox.pending()] == [_key(number) for number in pending]
        stored = sum(len(_payload(number)) for number, (_, there) in self.model.items() if there)
        assert self.outbox.total_bytes == stored


class TestOutbox(OutboxMachine.TestCase):  # type: ignore[name-defined, misc]
    settings = settings(
        max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
