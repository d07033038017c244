"""Guardians of the contract: votes, vetoes that are lifted, seats that change hands, deployments."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from da.protocol.certificate import Certificate
from da.protocol.committee import Committee
from da.settlement.contract import SettlementContract, SettlementStatus
from da.settlement.evm import Chain, EvmError, fast_precompiles
from tests.da.settlement.support import START_S, Batch, certify, make_batch, make_committee

DELAY_S = 600
EVIDENCE = hashlib.sha256(b"report").digest()


@pytest.fixture(scope="module")
def single() -> Committee:
    return make_committee(count=1)


@pytest.fixture(scope="module")
def _guarded(single: Committee) -> SettlementContract:
    chain = Chain()
    chain.set_time(START_S)
    with fast_precompiles():
        return SettlementContract.deploy(
            chain, single, guardians=chain.accounts[1:4], veto_quorum=2, sampling_delay_s=DELAY_S
        )


@pytest.fixture
def guarded(fast: None, _guarded: SettlementContract) -> Iterator[SettlementContract]:
    """Three guardians, two of whom make a veto."""
    with _guarded.chain.rolled_back():
        yield _guarded


@pytest.fixture
def guardians(guarded: SettlementContract) -> tuple[str, ...]:
    return guarded.chain.accounts[1:4]


@pytest.fixture(scope="module")
def batch(single: Committee) -> Batch:
    return make_batch(single)


@pytest.fixture(scope="module")
def certificate(single: Committee, batch: Batch) -> Certificate:
    return certify(single, batch.header, (0,))


def present(contract: SettlementContract, certificate: Certificate, batch: Batch) -> None:
    """Hand the batch in, and let its sampling delay pass."""
    assert contract.settle(certificate, batch.payloads, 0).status is SettlementStatus.TOO_EARLY
    contract.chain.set_time(contract.chain.timestamp_s + DELAY_S)


def test_fewer_votes_than_the_quorum_do_not_veto(
    guarded: SettlementContract, guardians: tuple[str, ...], batch: Batch, certificate: Certificate
) -> None:
    guarded.veto(batch.header.hash, EVIDENCE, guardian=guardians[2])
    assert not guarded.vetoed(batch.header.hash)
    present(guarded, certificate, batch)
    assert guarded.settle(certificate, batch.payloads, 0).status is SettlementStatus.OK


def test_votes_of_the_quorum_veto(
    guarded: SettlementContract, guardians: tuple[str, ...], batch: Batch, certificate: Certificate
) -> None:
    for guardian in guardians[1:]:
        guarded.veto(batch.header.hash, EVIDENCE, guardian=guardian)
    assert guarded.vetoed(batch.header.hash)
    assert not guarded.vetoed(make_batch(make_committee(2)).header.hash)
    assert guarded.settle(certificate, batch.payloads, 0).status is SettlementStatus.VETOED
    assert guarded.presented(batch.header.hash) is None
    assert guarded.settled(*batch.payloads.entries[0].key) is None


def test_a_veto_during_the_delay_stops_the_batch(
    guarded: SettlementContract, guardians: tuple[str, ...], batch: Batch, certificate: Certificate
) -> None:
    present(guarded, certificate, batch)
    for guardian in guardians[:2]:
        guarded.veto(batch.header.hash, EVIDENCE, guardian=guardian)
    assert guarded.settle(certificate, batch.payloads, 0).status is SettlementStatus.VETOED


def test_one_guardian_has_one_vote(
    guarded: SettlementContract, guardians: tuple[str, ...], batch: Batch
) -> None:
    guarded.veto(batch.header.hash, EVIDENCE, guardian=guardians[0])
    with pytest.raises(EvmError, match="voted already"):
        guarded.veto(batch.header.hash, EVIDENCE, guardian=guardians[0])
    assert not guarded.vetoed(batch.header.hash)


def test_only_guardians_vote_lift_and_propose(
    guarded: SettlementContract, guardians: tuple[str, ...], batch: Batch
) -> None:
    stranger = guarded.chain.accounts[5]
    guarded.veto(batch.header.hash, EVIDENCE, guardian=guardians[0])
    with pytest.raises(EvmError, match="only a guardian"):
        guarded.veto(batch.header.hash, EVIDENCE, guardian=stranger)
    with pytest.raises(EvmError, match="only a guardian"):
        guarded.lift_veto(batch.header.hash, guardian=stranger)
    with pytest.raises(EvmError, match="only a guardian"):
        guarded.propose_guardian(stranger, guardian=stranger)
    with pytest.raises(EvmError, match="no evidence"):
        guarded.veto(batch.header.hash, bytes(32), guardian=guardians[1])


def test_a_veto_is_lifted_by_who_made_it(
    guarded: SettlementContract, guardians: tuple[str, ...], batch: Batch, certificate: Certificate
) -> None:
    present(guarded, certificate, batch)
    for guardian in guardians[:2]:
        guarded.veto(batch.header.hash, EVIDENCE, guardian=guardian)
    with pytest.raises(EvmError, match="no vote to lift"):
        guarded.lift_veto(batch.header.hash, guardian=guardians[2])
    guarded.chain.set_time(guarded.chain.timestamp_s + DELAY_S - 10)
    guarded.lift_veto(batch.header.hash, guardian=guardians[1])
    assert not guarded.vetoed(batch.header.hash)
    with pytest.raises(EvmError, match="no vote to lift"):
        guarded.lift_veto(batch.header.hash, guardian=guardians[1])
    assert guarded.settle(certificate, batch.payloads, 0).status is SettlementStatus.OK


def test_a_veto_is_final_after_the_deadline(
    guarded: SettlementContract, guardians: tuple[str, ...], batch: Batch
) -> None:
    guarded.veto(batch.header.hash, EVIDENCE, guardian=guardians[0])
    guarded.chain.set_time(guarded.chain.timestamp_s + 2 * DELAY_S)
    guarded.lift_veto(batch.header.hash, guardian=guardians[0])  # no veto was made yet, so no deadline runs
    for guardian in guardians[:2]:
        guarded.veto(batch.header.hash, EVIDENCE, guardian=guardian)
    # Lifting and voting again does not move the deadline.
    guarded.chain.set_time(guarded.chain.timestamp_s + DELAY_S // 2)
    guarded.lift_veto(batch.header.hash, guardian=guardians[0])
    guarded.veto(batch.header.hash, EVIDENCE, guardian=guardians[0])
    guarded.chain.set_time(guarded.chain.timestamp_s + DELAY_S // 2)
    with pytest.raises(EvmError, match="too late to lift"):
        guarded.lift_veto(batch.header.hash, guardian=guardians[0])
    assert guarded.vetoed(batch.header.hash)


def test_a_seat_changes_hands_in_two_steps(
    guarded: SettlementContract, guardians: tuple[str, ...], batch: Batch
) -> None:
    successor = guarded.chain.accounts[5]
    guarded.veto(batch.header.hash, EVIDENCE, guardian=guardians[0])
    guarded.propose_guardian(successor, guardian=guardians[0])
    with pytest.raises(EvmError, match="only a guardian"):
        guarded.veto(batch.header.hash, EVIDENCE, guardian=successor)
    with pytest.raises(EvmError, match="not proposed"):
        guarded.accept_guardian(guardians[0], successor=guarded.chain.accounts[6])
    with pytest.raises(EvmError, match="not proposed"):
        guarded.accept_guardian(guardians[1], successor=successor)
    guarded.accept_guardian(guardians[0], successor=successor)
    with pytest.raises(EvmError, match="only a guardian"):
        guarded.veto(batch.header.hash, EVIDENCE, guardian=guardians[0])
    with pytest.raises(EvmError, match="voted already"):
        guarded.veto(batch.header.hash, EVIDENCE, guardian=successor)
    guarded.lift_veto(batch.header.hash, guardian=successor)


def test_a_proposal_is_used_once_and_can_be_taken_back(
    guarded: SettlementContract, guardians: tuple[str, ...]
) -> None:
    first, second = guarded.chain.accounts[5:7]
    guarded.propose_guardian(first, guardian=guardians[0])
    guarded.propose_guardian("0x" + "00" * 20, guardian=guardians[0])
    with pytest.raises(EvmError, match="not proposed"):
        guarded.accept_guardian(guardians[0], successor=first)
    guarded.propose_guardian(guardians[1], guardian=guardians[0])
    with pytest.raises(EvmError, match="not a new guardian"):
        guarded.accept_guardian(guardians[0], successor=guardians[1])
    guarded.propose_guardian(first, guardian=guardians[0])
    guarded.accept_guardian(guardians[0], successor=first)
    guarded.propose_guardian(guardians[0], guardian=first)
    guarded.accept_guardian(first, successor=guardians[0])
    with pytest.raises(EvmError, match="not proposed"):
        guarded.accept_guardian(guardians[0], successor=first)
    guarded.propose_guardian(second, guardian=guardians[0])


def test_one_of_one(fast: None, single: Committee, batch: Batch) -> None:
    chain = Chain()
    chain.set_time(START_S)
    contract = SettlementContract.create(chain, single, guardians=chain.accounts[1:2], sampling_delay_s=1)
    contract.veto(batch.header.hash, EVIDENCE, guardian=chain.accounts[1])
    assert contract.vetoed(batch.header.hash)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"guardians": (1, 2), "sampling_delay_s": 0}, "guardians need a sampling delay"),
        ({"guardians": (1,), "sampling_delay_s": 86_400}, "sampling delay not below the retention"),
        ({"guardians": (), "sampling_delay_s": 86_400}, "sampling delay not below the retention"),
        ({"guardians": (1, 2), "sampling_delay_s": 1, "veto_quorum": 3}, "veto quorum"),
        ({"guardians": (1, 2), "sampling_delay_s": 1, "veto_quorum": 0}, "veto quorum"),
        ({"guardians": (), "sampling_delay_s": 1, "veto_quorum": 1}, "veto quorum"),
        ({"guardians": (1, 1), "sampling_delay_s": 1}, "not a new guardian"),
        ({"guardians": (1, 0), "sampling_delay_s": 1}, "not a new guardian"),
    ],
)
def test_deployments_that_are_refused(single: Committee, values: dict[str, Any], reason: str) -> None:
    guardians = tuple(f"0x{number:040x}" for number in values["guardians"])
    with pytest.raises(EvmError, match=reason):
        SettlementContract.create(Chain(), single, **{**values, "guardians": guardians})


def test_sixteen_guardians_at_most(single: Committee, batch: Batch) -> None:
    chain = Chain()
    many = [f"0x{number:040x}" for number in range(1, 18)]
    with pytest.raises(EvmError):
        SettlementContract.create(chain, single, guardians=many, sampling_delay_s=1)
    contract = SettlementContract.create(
        chain, single, guardians=(*many[:15], chain.accounts[1]), veto_quorum=16, sampling_delay_s=1
    )
    contract.veto(batch.header.hash, EVIDENCE, guardian=chain.accounts[1])
    assert not contract.vetoed(batch.header.hash)
