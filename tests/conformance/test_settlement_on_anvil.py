"""The settlement contract on a chain that is not ours, at the rules of Prague and Osaka."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from da.settlement.contract import SettlementContract, SettlementStatus
from da.settlement.encoding import g2_words, signer_bits
from tests.conformance.anvil import AnvilChain, anvil_program
from tests.da.settlement.gas import CHECK, SETTLE, Call, answer, external_functions, make_calls, sweep
from tests.da.settlement.support import START_S, certify, make_batch, make_committee

pytestmark = pytest.mark.slow

STEP = 2_000
PLENTY = 450_000
# EIP-7825 (Osaka) allows a transaction no more.
TRANSACTION_GAS_MAX = 2**24
CHECK_GAS_MAX = 1_650_000


@pytest.fixture(scope="module")
def program() -> Path:
    return anvil_program()


@pytest.fixture(scope="module", params=["prague", "osaka"])
def chain(program: Path, request: pytest.FixtureRequest) -> Iterator[AnvilChain]:
    with AnvilChain(program, hardfork=request.param, timestamp_s=START_S) as anvil:
        yield anvil


@pytest.fixture(scope="module")
def calls(chain: AnvilChain) -> list[Call]:
    return make_calls(chain, make_committee())


def test_gas_never_changes_an_answer(chain: AnvilChain, calls: list[Call]) -> None:
    assert {call.function.name for call in calls} == external_functions()
    for call in calls:
        sweep(chain, call, range(call.intrinsic_gas, PLENTY, STEP))


def test_an_estimate_is_enough_for_the_right_answer(chain: AnvilChain, calls: list[Call]) -> None:
    for call in calls:
        request = chain.request(call.address, call.function, *call.values, sender=call.sender)
        estimate = int(chain.rpc("eth_estimateGas", request), 16)
        assert answer(chain, call, estimate) == answer(chain, call, 16_000_000), call.function.name
    (settle,) = [call for call in calls if call.function == SETTLE and call.status is SettlementStatus.OK]
    request = chain.request(settle.address, settle.function, *settle.values)
    receipt = chain.send({**request, "gas": chain.rpc("eth_estimateGas", request)})
    assert len(receipt["logs"]) == 1, "recorded"


def test_the_largest_committee(chain: AnvilChain) -> None:
    """256 members, of whom the first 20 hold 9/10 of the stake."""
    committee = make_committee(256, stakes=[472] * 20 + [4] * 236)
    contract = SettlementContract.deploy(chain, committee)
    assert contract.cost.seal < TRANSACTION_GAS_MAX
    header = make_batch(committee).header
    gas = {}
    for count in (256, 255, 129, 128, 127, 20):
        certificate = certify(committee, header, tuple(range(count)))
        arguments = header.encode(), signer_bits(certificate.signers), g2_words(certificate.signature)
        receipt = chain.transact(contract.address, CHECK, *arguments)
        assert SettlementStatus(receipt.value) is SettlementStatus.OK
        gas[count] = receipt.gas_used
    assert gas[256] < gas[255] < gas[20] < gas[127] < gas[128] < CHECK_GAS_MAX
    assert max(gas.values()) == gas[128]
    assert contract.check(certify(committee, header, tuple(range(20, 256)))) is (
        SettlementStatus.BELOW_THRESHOLD
    )
