"""A committee of seven and its contract on an in-process chain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from da.protocol.committee import Committee
from da.settlement.contract import SettlementContract
from da.settlement.evm import Chain, fast_precompiles
from tests.da.settlement.support import START_S, make_committee


@pytest.fixture(scope="session")
def committee() -> Committee:
    return make_committee()


@pytest.fixture
def fast() -> Iterator[None]:
    with fast_precompiles():
        yield


@pytest.fixture(scope="session")
def _sealed(committee: Committee) -> SettlementContract:
    chain = Chain()
    chain.set_time(START_S)
    with fast_precompiles():
        return SettlementContract.deploy(chain, committee)


@pytest.fixture
def chain(fast: None, _sealed: SettlementContract) -> Iterator[Chain]:
    with _sealed.chain.rolled_back():
        yield _sealed.chain


@pytest.fixture
def contract(chain: Chain, _sealed: SettlementContract) -> SettlementContract:
    return _sealed
