"""Stores in temporary directories. A module runs on other objects by a fixture `objects` of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from da.store.embedded import EmbeddedStore
from da.store.objects import Objects


class Clock:
    """Time that moves when a test says so, from a round day."""

    def __init__(self) -> None:
        self.now_ms = 1_795_305_600_000

    def __call__(self) -> int:
        return self.now_ms

    def forward(self, seconds: int) -> None:
        self.now_ms += seconds * 1000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def objects() -> Objects | None:
    """Where `open_store` puts batches; None: into files in its directory."""
    return None


@pytest.fixture
def open_store(tmp_path: Path, clock: Clock, objects: Objects | None) -> Iterator[Callable[..., Any]]:
    """A function that opens the store of this test, each time the same; open ones are closed at the end."""
    opened: list[EmbeddedStore] = []

    def open_one(**options: Any) -> EmbeddedStore:
        defaults = {"reserve_bytes": 0, "now_ms": clock, "objects": objects}
        store = EmbeddedStore(tmp_path / "store", **{**defaults, **options})
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., Any]) -> Any:
    return open_store()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where `open_store` puts its store."""
    return tmp_path / "store"
