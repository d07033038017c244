"""Stores in temporary directories. What takes `open_store` runs on each implementation of the port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from da.store.embedded import EmbeddedStore


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


def _embedded(directory: Path, **options: Any) -> EmbeddedStore:
    return EmbeddedStore(directory, **{"reserve_bytes": 0, **options})


@pytest.fixture(params=[_embedded], ids=["embedded"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Any]]:
    """A function that opens the store of this test, each time the same; open ones are closed at the end."""
    opened: list[Any] = []

    def open_one(**options: Any) -> Any:
        store = request.param(tmp_path / "store", **{"now_ms": clock, **options})
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
