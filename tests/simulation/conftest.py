"""One engine for all simulations: opening it builds tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gpu import EngineOptions, open_engine
from kzg.engine import Engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with open_engine(EngineOptions("ckzg", workers=1)) as opened:
        yield opened
