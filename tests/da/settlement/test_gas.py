"""Too little gas is a revert, never a status: each function at many amounts, and each precompile's share.

The EVM forwards at most 63/64 of what is left to a call, without an error, so a precompile can fail for want
of gas inside a call that goes on. The contract must not go on in that case.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from da.interpreter import recursion_limit_kept
from da.protocol.committee import Committee
from da.settlement.contract import SettlementStatus
from da.settlement.evm import Chain, fast_precompiles
from tests.da.settlement.gas import (
    Call,
    answer,
    external_functions,
    make_calls,
    sweep,
)
from tests.da.settlement.support import START_S

with recursion_limit_kept():
    from eth.vm.forks.prague import computation as prague

# What the contract forwards to each capped precompile: its GAS_ constants.
CAPS = {0x05: 5000, 0x0B: 400, 0x0D: 700, 0x0F: 110_000, 0x11: 25_000}
PLENTY = 400_000


@pytest.fixture(scope="module")
def _calls(committee: Committee) -> tuple[Chain, list[Call]]:
    chain = Chain()
    chain.set_time(START_S)
    with fast_precompiles():
        return chain, make_calls(chain, committee)


@pytest.fixture
def swept(fast: None, _calls: tuple[Chain, list[Call]]) -> tuple[Chain, list[Call]]:
    return _calls


@contextmanager
def forwarded() -> Iterator[list[tuple[int, int]]]:
    """Record which capped precompiles are called, and how much gas each gets."""
    originals = dict(prague.PRAGUE_PRECOMPILES)
    seen: list[tuple[int, int]] = []

    def recording(number: int, original: Any) -> Any:
        def run(computation: Any) -> Any:
            seen.append((number, computation.msg.gas))
            return original(computation)

        return run

    for number in CAPS:
        address = number.to_bytes(20, "big")
        prague.PRAGUE_PRECOMPILES[address] = recording(number, originals[address])
    try:
        yield seen
    finally:
        prague.PRAGUE_PRECOMPILES.update(originals)


def test_the_calls_are_of_every_function(swept: tuple[Chain, list[Call]]) -> None:
    assert {call.function.name for call in swept[1]} == external_functions()


@pytest.mark.parametrize("step", [24_000, pytest.param(6_000, marks=pytest.mark.slow)])
def test_gas_never_changes_an_answer(swept: tuple[Chain, list[Call]], step: int) -> None:
    chain, calls = swept
    for call in calls:
        floor = call.intrinsic_gas
        least = sweep(chain, call, range(floor, PLENTY, step))
        # The last precompiles are called just below.
        sweep(chain, call, range(max(floor, least - step), least + 1, step // 8))


@pytest.mark.parametrize(
    "name", ["register", "check_certificate", pytest.param("settle", marks=pytest.mark.slow)]
)
def test_each_precompile_gets_its_whole_price(swept: tuple[Chain, list[Call]], name: str) -> None:
    """For the n-th precompile of a call: at the least gas with which it is called at all, it gets its cap."""
    chain, calls = swept
    call = [
        call for call in calls if call.function.name == name and call.status in (None, SettlementStatus.OK)
    ][-1]

    def called(gas: int) -> int:
        """How many precompiles are called with this much gas; each must get its cap."""
        with forwarded() as seen:
            answer(chain, call, gas)
        assert seen == [(number, CAPS[number]) for number, _ in seen]
        return len(seen)

    with forwarded() as all_of_them:
        answer(chain, call, PLENTY)
    assert {number for number, _ in all_of_them} == set(CAPS)
    counts = {call.intrinsic_gas: called(call.intrinsic_gas), PLENTY: called(PLENTY)}
    for position in range(len(all_of_them)):
        while True:
            short = max(gas for gas, count in counts.items() if count <= position)
            enough = min(gas for gas, count in counts.items() if count > position)
            if enough - short <= 1:
                break
            middle = (short + enough) // 2
            counts[middle] = called(middle)
