"""The state directory: what a method returned is there after a crash, and coordinates never change."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from light_client import HeaderLog, SignedHeader, StateError
from sampling import select_cells

from .conftest import CHAIN_ID, NOW_MS, World

HASH = b"\1" * 32


def _signed(world: World, count: int) -> list[SignedHeader]:
    return [
        SignedHeader(each.header, each.disperser_signature, each.certificate) for each in world.chain(count)
    ]


def test_coordinates_are_drawn_once(tmp_path: Path) -> None:
    with HeaderLog(tmp_path) as log:
        assert not log.has_plan(HASH)
        first = log.plan(HASH, 5, 26, random.Random(1), NOW_MS)
        assert first == select_cells(5, 26, random.Random(1))
        assert log.has_plan(HASH)
        assert log.plan(HASH, 5, 26, random.Random(2), NOW_MS) == first
    with HeaderLog(tmp_path) as log:
        assert log.plan(HASH, 5, 20, random.Random(3), NOW_MS) == first
        more = log.plan(HASH, 5, 40, random.Random(4), NOW_MS)
        assert more[:26] == first
        assert len(set(more)) == 40
        assert log.plan(HASH, 5, 26, random.Random(5), NOW_MS) == more
        assert log.plan(b"\2" * 32, 5, 26, random.Random(6), NOW_MS) != first


@pytest.mark.parametrize(
    "damage",
    ["", "{}", "[]", "null", "[[1]]", "[[1, 2, 3]]", '[["1", 2]]', "[[1.0, 2]]", "[1, 2]", b"\xff", 7],
)
def test_damaged_coordinates_are_an_error_of_the_state(tmp_path: Path, damage: str | bytes | int) -> None:
    with HeaderLog(tmp_path) as log:
        log.plan(HASH, 5, 26, random.Random(1), NOW_MS)
        with sqlite3.connect(tmp_path / "light-client.sqlite3") as database:
            database.execute("UPDATE plans SET cells = ?", (damage,))
        database.close()
        with pytest.raises(StateError, match=r"damaged; use another state directory"):
            log.plan(HASH, 5, 26, random.Random(1), NOW_MS)


def test_two_processes_agree_on_the_coordinates(tmp_path: Path) -> None:
    with HeaderLog(tmp_path) as one, HeaderLog(tmp_path) as other:
        first = one.plan(HASH, 5, 26, random.Random(1), NOW_MS)
        assert other.plan(HASH, 5, 26, random.Random(2), NOW_MS) == first


_DIE_AFTER_PLAN = """
import os, random, signal, sys
from pathlib import Path
from light_client import HeaderLog
log = HeaderLog(Path(sys.argv[1]))
cells = log.plan(b"\\1" * 32, 5, 26, random.SystemRandom(), 0)
print([tuple(cell) for cell in cells], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_coordinates_survive_kill_9(tmp_path: Path) -> None:
    script = [sys.executable, "-c", _DIE_AFTER_PLAN, str(tmp_path)]
    died = subprocess.run(script, capture_output=True, text=True, check=False)
    assert died.returncode == -9, died.stderr
    with HeaderLog(tmp_path) as log:
        cells = log.plan(HASH, 5, 26, random.SystemRandom(), NOW_MS)
    assert str([tuple(cell) for cell in cells]) == died.stdout.strip()


def test_headers_are_kept_by_height(world: World, tmp_path: Path) -> None:
    headers = _signed(world, 3)
    with HeaderLog(tmp_path) as log:
        assert log.head(CHAIN_ID, world.disperser.id) is None
        for signed in headers:
            log.put_header(signed, NOW_MS)
    with HeaderLog(tmp_path) as log:
        assert log.head(CHAIN_ID, world.disperser.id) == headers[2]
        assert log.header_at(CHAIN_ID, world.disperser.id, 2) == headers[1]
        for height in (0, -1, 4, 2**64, 2**80):
            assert log.header_at(CHAIN_ID, world.disperser.id, height) is None
        assert log.header_at(CHAIN_ID + 1, world.disperser.id, 2) is None
        assert log.head(CHAIN_ID, b"\3" * 32) is None


def test_a_second_header_at_a_height_never_replaces_the_first(world: World, tmp_path: Path) -> None:
    (first,) = _signed(world, 1)
    other = world.make_batch(timestamp_ms=5)
    second = SignedHeader(other.header, other.disperser_signature, None)
    with HeaderLog(tmp_path) as log:
        log.put_header(first, NOW_MS)
        log.put_header(second, NOW_MS)
        assert log.header_at(CHAIN_ID, world.disperser.id, 1) == first
        assert log.equivocations() == []
        log.put_equivocation(second, NOW_MS)
        log.put_equivocation(second, NOW_MS + 1)
    with HeaderLog(tmp_path) as log:
        assert log.equivocations() == [(first, second)]


def test_verdicts_are_appended(tmp_path: Path) -> None:
    with HeaderLog(tmp_path) as log:
        first = log.put_verdict(HASH, 2**64 - 1, "unavailable", "unavailable", NOW_MS, "{}", keep=8)
        second = log.put_verdict(HASH, 2**64 - 1, "available", "available", NOW_MS + 1, "{}", keep=8)
        log.put_verdict(b"\2" * 32, 1, "undecided", "expired", NOW_MS + 2, "{}", keep=8)
    with HeaderLog(tmp_path) as log:
        assert [each.id for each in log.verdicts(header_hash=HASH)] == [second, first]
        assert log.verdicts(header_hash=HASH)[0].height == 2**64 - 1
        assert [each.status for each in log.verdicts(limit=1)] == ["expired"]
        found = log.verdict(first)
        assert found is not None
        assert found.verdict == "unavailable"
        assert log.verdict(99) is None


def test_a_batch_keeps_its_last_reports_and_its_last_verdicts(tmp_path: Path) -> None:
    other = b"\2" * 32
    with HeaderLog(tmp_path) as log:

        def put(verdict: str, header_hash: bytes = HASH) -> int:
            return log.put_verdict(header_hash, 1, verdict, verdict, NOW_MS, "{}", keep=3)

        stranger = put("undecided", other)
        unavailable = [put("unavailable") for _ in range(5)][-1]
        available = [put("available") for _ in range(5)][-1]
        undecided = [put("undecided") for _ in range(500)][-3:]
        kept = [each.id for each in log.verdicts(header_hash=HASH, limit=1000)]
        assert kept == [*reversed(undecided), available, unavailable]
        assert [each.id for each in log.verdicts(header_hash=other)] == [stranger]


def test_due_are_batches_without_a_verdict_or_undecided_long_ago(world: World, tmp_path: Path) -> None:
    headers = _signed(world, 5)
    hashes = [signed.header.hash for signed in headers]
    with HeaderLog(tmp_path) as log:
        for signed in headers:
            log.put_header(signed, NOW_MS)

        def due(**changes: int) -> list[int]:
            bounds = {
                "oldest_ms": 0,
                "now_ms": NOW_MS,
                "retry_ms": 10,
                "retry_max_ms": 80,
                "limit": 9,
            } | changes
            return [each.header.height for each in log.due(CHAIN_ID, world.disperser.id, **bounds)]

        def put(height: int, verdict: str, finished_ms: int) -> None:
            log.put_verdict(hashes[height - 1], height, verdict, verdict, finished_ms, "{}", keep=2)

        assert due() == [5, 4, 3, 2, 1]
        assert due(limit=2) == [5, 4]
        assert due(oldest_ms=headers[3].header.timestamp_ms) == [5, 4]
        put(5, "available", NOW_MS)
        put(4, "unavailable", NOW_MS)
        put(3, "undecided", NOW_MS - 10)
        put(2, "undecided", NOW_MS - 10)
        put(2, "undecided", NOW_MS)
        assert due() == [3, 1]
        assert due(now_ms=NOW_MS + 19) == [3, 1]
        assert due(now_ms=NOW_MS + 20) == [3, 2, 1]


def test_the_wait_for_another_try_doubles_to_its_longest(world: World, tmp_path: Path) -> None:
    (signed,) = _signed(world, 1)
    waits = []
    with HeaderLog(tmp_path) as log:
        log.put_header(signed, NOW_MS)

        def put(verdict: str) -> None:
            log.put_verdict(signed.header.hash, 1, verdict, verdict, NOW_MS, "{}", keep=2)

        def wait_ms() -> int:
            bounds = {"oldest_ms": 0, "retry_ms": 10, "retry_max_ms": 75, "limit": 1}
            return next(
                after
                for after in range(1000)
                if log.due(CHAIN_ID, world.disperser.id, now_ms=NOW_MS + after, **bounds)
            )

        for _ in range(100):
            put("undecided")
            waits.append(wait_ms())
        assert waits == [10, 20, 40] + [75] * 97
        put("available")
        put("undecided")
        assert wait_ms() == 10, "a decision starts the count anew"


def test_a_directory_without_the_table_of_retries_gets_it(world: World, tmp_path: Path) -> None:
    (signed,) = _signed(world, 1)
    with HeaderLog(tmp_path) as log:
        log.put_header(signed, NOW_MS)
        log.put_verdict(signed.header.hash, 1, "undecided", "undecided", NOW_MS, "{}", keep=2)
    with sqlite3.connect(tmp_path / "light-client.sqlite3") as db:
        db.execute("DROP TABLE retries")
    db.close()
    with HeaderLog(tmp_path) as log:
        bounds = {"oldest_ms": 0, "retry_ms": 10, "retry_max_ms": 80, "limit": 1}
        assert log.due(CHAIN_ID, world.disperser.id, now_ms=NOW_MS + 9, **bounds) == []
        assert log.due(CHAIN_ID, world.disperser.id, now_ms=NOW_MS + 10, **bounds) == [signed]


def test_a_directory_that_cannot_be_used_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError):
        HeaderLog(tmp_path / "file")
    garbage = tmp_path / "garbage"
    garbage.mkdir()
    (garbage / "light-client.sqlite3").write_bytes(b"no database " * 1000)
    with pytest.raises(StateError):
        HeaderLog(garbage)
    with HeaderLog(tmp_path / "newer"):
        pass
    with sqlite3.connect(tmp_path / "newer" / "light-client.sqlite3") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StateError, match="schema version 99 is not supported"):
        HeaderLog(tmp_path / "newer")


def test_the_directory_is_private(tmp_path: Path) -> None:
    with HeaderLog(tmp_path / "state"):
        pass
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
