"""Any sequence of calls, reopenings and rebuilds, against a dictionary."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from da.store import Equivocation, ExpiredBatch, PrunedHeight, UnknownBatch
from da.store.embedded import EmbeddedStore
from da.store.objects import MemoryObjects, Objects
from tests.da.store.support import DISPERSER, Batch, make_batch

HOUR_MS = 3_600_000
BUCKET_S = 3_600
TOMBSTONE_S = 4 * 3_600


@dataclass
class Held:
    """What the model knows of a stored batch. `columns`: column to the seed its bytes were made from."""

    batch: Batch
    columns: dict[int, int]
    end_ms: int
    certificate: bytes | None = None
    expired: bool = False


@dataclass
class Model:
    held: dict[int, Held] = field(default_factory=dict)  # by height
    pruned: int = 0

    @property
    def top(self) -> int:
        return max(self.held, default=0)


_columns = st.sets(st.sampled_from([0, 1, 2, 63, 64, 127]), max_size=4).map(sorted)


class StoreMachine(RuleBasedStateMachine):
    """The store and the model, side by side."""

    heights = Bundle("heights")

    @staticmethod
    def make_objects() -> Objects | None:
        """What the store keeps batches in; None: its directory."""
        return None

    @initialize()
    def open(self) -> None:
        self.temporary = tempfile.TemporaryDirectory()
        self.objects = self.make_objects()
        self.now_ms = 1_795_305_600_000
        self.model = Model()
        self._open()

    def _open(self) -> None:
        self.store = EmbeddedStore(
            Path(self.temporary.name) / "store",
            reserve_bytes=0,
            bucket_s=BUCKET_S,
            tombstone_s=TOMBSTONE_S,
            now_ms=lambda: self.now_ms,
            objects=self.objects,
        )
        assert self.store.findings == ()

    def teardown(self) -> None:
        self.store.close()
        self.temporary.cleanup()

    def _expected_error(self, height: int, batch: Batch) -> type[Exception] | None:
        held = self.model.held.get(height)
        if held is None:
            return PrunedHeight if height <= self.model.pruned else None
        if held.batch.hash != batch.hash:
            return Equivocation
        return ExpiredBatch if held.expired else None

    @rule(target=heights, height=st.integers(1, 8), rival=st.booleans(), columns=_columns)
    def put(self, height: int, rival: bool, columns: list[int]) -> int:
        batch = make_batch(height, rows=1 + height % 3, seed=height + 100 * rival)
        error = self._expected_error(height, batch)
        if error is not None:
            with pytest.raises(error):
                batch.put(self.store, columns)
            return height
        batch.put(self.store, columns)
        end_ms = self.now_ms // HOUR_MS * HOUR_MS + HOUR_MS
        held = self.model.held.setdefault(height, Held(batch, {}, end_ms))
        held.columns |= dict.fromkeys(columns, batch.seed)
        return height

    @rule(height=heights, columns=_columns, seed=st.integers(0, 1))
    def add_columns(self, height: int, columns: list[int], seed: int) -> None:
        held = self.model.held.get(height)
        if held is None:
            return
        source = make_batch(height, rows=held.batch.header.row_count, seed=held.batch.seed + 1000 * seed)
        if held.expired:
            with pytest.raises(ExpiredBatch):
                self.store.add_columns(held.batch.hash, source.columns(columns))
            return
        self.store.add_columns(held.batch.hash, source.columns(columns))
        held.columns |= dict.fromkeys(columns, source.seed)

    @rule(height=heights, certificate=st.binary(min_size=1, max_size=8))
    def put_certificate(self, height: int, certificate: bytes) -> None:
        held = self.model.held.get(height)
        if held is None:
            return
        if held.expired:
            with pytest.raises(ExpiredBatch):
                self.store.put_certificate(held.batch.hash, certificate)
            return
        self.store.put_certificate(held.batch.hash, certificate)
        held.certificate = certificate

    @rule(minutes=st.integers(1, 90))
    def wait(self, minutes: int) -> None:
        self.now_ms += minutes * 60_000

    @rule(retention_hours=st.integers(0, 2))
    def expire(self, retention_hours: int) -> None:
        limit_ms = self.now_ms - retention_hours * HOUR_MS
        due = [held for held in self.model.held.values() if not held.expired and held.end_ms <= limit_ms]
        assert self.store.expire(self.now_ms, retention_hours * HOUR_MS) == len(due)
        for held in due:
            held.expired = True
        self._prune(limit_ms - TOMBSTONE_S * 1000)

    def _prune(self, before_ms: int) -> None:
        held = self.model.held
        certified = [height for height in held if held[height].certificate is not None]
        kept = {held[height].end_ms for height in (max(held, default=0), max(certified, default=0)) if height}
        for height in sorted(held):
            if held[height].end_ms <= before_ms and held[height].end_ms not in kept and held[height].expired:
                self.model.pruned = max(self.model.pruned, height)
                del held[height]

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self._open()

    @rule()
    def rebuild(self) -> None:
        self.store.rebuild_index()
        assert self.store.findings == ()

    @rule()
    def scrub(self) -> None:
        assert list(self.store.scrub()) == []

    @invariant()
    def agrees_with_the_model(self) -> None:
        for height in range(1, 9):
            held = self.model.held.get(height)
            expected = None if held is None else held.batch.hash
            assert self.store.at_height(DISPERSER, height) == expected
            if held is not None:
                self._check(held)
        listed = [(r.header.height, r.state) for r in self.store.batches(DISPERSER, 0, 100, False)]
        states = {height: "expired" if held.expired else "live" for height, held in self.model.held.items()}
        assert listed == sorted(states.items())
        latest = self.store.latest(DISPERSER)
        assert (0 if latest is None else latest.header.height) == self.model.top
        with pytest.raises(UnknownBatch):
            self.store.batch(bytes(32))

    def _check(self, held: Held) -> None:
        (location,) = self.store.find_payload(held.batch.payload_list.entries[0].payload_id)
        assert (location.header_hash, location.state == "expired") == (held.batch.hash, held.expired)
        if held.expired:
            with pytest.raises(ExpiredBatch) as caught:
                self.store.batch(held.batch.hash)
            assert caught.value.record.certificate == held.certificate
            return
        record = self.store.batch(held.batch.hash)
        assert record.certificate == held.certificate
        assert record.columns == tuple(sorted(held.columns))
        for column, seed in held.columns.items():
            source = make_batch(held.batch.header.height, rows=held.batch.header.row_count, seed=seed)
            assert np.array_equal(self.store.read_column(held.batch.hash, column), source.column(column))


_QUICK = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
_LONG = settings(_QUICK, max_examples=100, stateful_step_count=50)


class TestStore(StoreMachine.TestCase):  # type: ignore[name-defined, misc]
    settings = _QUICK


class InMemoryMachine(StoreMachine):
    """The same over objects in memory."""

    @staticmethod
    def make_objects() -> Objects | None:
        return MemoryObjects()


class TestStoreInMemory(InMemoryMachine.TestCase):  # type: ignore[name-defined, misc]
    settings = _QUICK


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestStoreLong(StoreMachine.TestCase):  # type: ignore[name-defined, misc]
    settings = _LONG
