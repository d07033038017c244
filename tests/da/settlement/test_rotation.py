"""Changes of committee on the contract: signed by the one in office, bound to everything, never blocked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from da import bls
from da.protocol.attestation import attestation_message
from da.protocol.committee import Committee
from da.protocol.committee_chain import Link
from da.settlement.contract import SettlementContract, SettlementStatus, handover_calls
from da.settlement.encoding import g1_words, g2_words
from da.settlement.evm import Chain, EvmError, Function, fast_precompiles
from tests.da.settlement.support import (
    START_S,
    VALID_UNTIL_S,
    certify,
    hand_over,
    make_batch,
    make_committee,
    secrets,
)

DELAY_S = 1_000
_REGISTER = Function("register", ("bytes", "bytes", "uint64", "bool"))
_SEAL = Function("seal", ("bytes32",))


FIRST, SECOND, THIRD = (
    replace(make_committee(members, retention_s=retention_s), epoch=epoch)
    for epoch, members, retention_s in ((3, 3, 86_400), (4, 2, 7_200), (5, 3, 7_200))
)


@pytest.fixture(scope="session")
def _deployed() -> SettlementContract:
    """The first committee in office, the second and third sealed."""
    chain = Chain()
    chain.set_time(START_S)
    with fast_precompiles():
        contract = SettlementContract.deploy(
            chain, FIRST, recovery=chain.accounts[1], recovery_delay_s=DELAY_S
        )
        for each in (SECOND, THIRD):
            prepare(contract, each)
    return contract


@pytest.fixture
def chain(fast: None, _deployed: SettlementContract) -> Iterator[Chain]:
    with _deployed.chain.rolled_back():
        yield _deployed.chain


@pytest.fixture
def contract(chain: Chain, _deployed: SettlementContract) -> SettlementContract:
    return _deployed


def prepare(contract: SettlementContract, committee: Committee) -> None:
    """Register and seal another committee, by an account that is not the deployer."""
    registrar = contract.chain.accounts[3]
    contract.open(committee, registrar)
    contract.register(committee, registrar)


def everyone(committee: Committee) -> tuple[int, ...]:
    return tuple(range(len(committee.members)))


def test_committees_follow_one_another(contract: SettlementContract) -> None:
    assert contract.committee_in_office() == (FIRST.hash, 3)
    for before, new in ((FIRST, SECOND), (SECOND, THIRD)):
        certificate = certify(new, make_batch(new).header, everyone(new))
        assert contract.check(certificate) is SettlementStatus.FOREIGN_COMMITTEE
        assert contract.activate(hand_over(contract, before, new)).status is SettlementStatus.OK
        assert contract.committee_in_office() == (new.hash, new.epoch)
        assert contract.check(certificate) is SettlementStatus.OK
        assert contract.valid_until_s(before.hash) == VALID_UNTIL_S
        assert contract.valid_until_s(new.hash) == 2**64 - 1


def test_old_certificates_hold_up_to_the_stated_second(chain: Chain, contract: SettlementContract) -> None:
    contract.activate(hand_over(contract, FIRST, SECOND))
    old_batch, new_batch = make_batch(FIRST), make_batch(SECOND)
    old = certify(FIRST, old_batch.header, everyone(FIRST))
    fresh = certify(SECOND, new_batch.header, everyone(SECOND))
    late = replace(old_batch.header, timestamp_ms=VALID_UNTIL_S * 1000 + 1)
    status = contract.check(certify(FIRST, late, everyone(FIRST)))
    assert status is SettlementStatus.COMMITTEE_ENDED, "the header's date is enough"
    chain.set_time(VALID_UNTIL_S - 2)
    assert contract.settle(old, old_batch.payloads, 0).status is SettlementStatus.OK
    assert contract.settle(fresh, new_batch.payloads, 1).status is SettlementStatus.OK
    # Each batch is kept as long as its own committee promises.
    for batch, index, kept_s in ((old_batch, 0, 86_400), (new_batch, 1, 7_200)):
        entry = batch.payloads.entries[index]
        until_s = contract.retained_until_s(entry.namespace, entry.payload_id, batch.header.hash)
        assert until_s == START_S + kept_s
    chain.set_time(VALID_UNTIL_S + 1)
    assert contract.check(old) is SettlementStatus.COMMITTEE_ENDED
    assert contract.settle(old, old_batch.payloads, 1).status is SettlementStatus.COMMITTEE_ENDED
    assert contract.check(fresh) is SettlementStatus.OK


@pytest.mark.parametrize(
    "change",
    [
        {"contract": bytes(20)},
        {"settlement_chain_id": 1},
        pytest.param({"chain_id": 8}, marks=pytest.mark.slow),
        pytest.param({"epoch": 4}, marks=pytest.mark.slow),
        pytest.param({"committee_hash": bytes(32)}, marks=pytest.mark.slow),
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_handover_for_something_else_changes_nothing(
    contract: SettlementContract, change: dict[str, Any]
) -> None:
    outcome = contract.activate(hand_over(contract, FIRST, SECOND, **change))
    assert outcome.status is SettlementStatus.BAD_SIGNATURE
    assert contract.committee_in_office() == (FIRST.hash, 3)


@pytest.mark.parametrize("change", [{"valid_until_s": 2**64 - 1}, {"next_addresses_hash": bytes(32)}])
def test_what_the_caller_passes_is_what_was_signed(
    contract: SettlementContract, change: dict[str, Any]
) -> None:
    handover = hand_over(contract, FIRST, SECOND)
    changed = replace(handover, terms=replace(handover.terms, **change))
    assert contract.activate(changed).status is SettlementStatus.BAD_SIGNATURE


def test_an_attestation_is_no_handover(contract: SettlementContract) -> None:
    handover = hand_over(contract, FIRST, SECOND)
    message = attestation_message(FIRST.chain_id, FIRST.hash, handover.terms.message)
    signature = bls.aggregate([bls.sign(each, message) for each in secrets(3)])
    status = contract.activate(replace(handover, signature=signature)).status
    assert status is SettlementStatus.BAD_SIGNATURE


def test_signers_are_counted_under_the_committee_in_office(contract: SettlementContract) -> None:
    few = contract.activate(hand_over(contract, FIRST, SECOND, signers=(0, 1)))
    assert few.status is SettlementStatus.BELOW_THRESHOLD
    assert contract.activate(hand_over(contract, FIRST, SECOND, signers=(1, 2))).status is (
        SettlementStatus.OK
    )


@pytest.mark.parametrize(
    ("signers", "status"),
    [
        ((), SettlementStatus.BAD_SIGNERS),
        ((0, 200), SettlementStatus.BAD_SIGNERS),
        ((1, 2), SettlementStatus.BAD_SIGNATURE),
    ],
)
def test_the_signers_are_those_who_signed(
    contract: SettlementContract, signers: tuple[int, ...], status: SettlementStatus
) -> None:
    handover = hand_over(contract, FIRST, SECOND)
    changed = replace(handover, committee_size=256, signers=signers)
    assert contract.activate(changed).status is status


def test_an_epoch_is_not_skipped_or_repeated(contract: SettlementContract) -> None:
    skipping = hand_over(contract, FIRST, SECOND, next_committee_hash=THIRD.hash)
    assert contract.activate(skipping).status is SettlementStatus.BAD_EPOCH
    handover = hand_over(contract, FIRST, SECOND)
    again = replace(handover, terms=replace(handover.terms, next_committee_hash=FIRST.hash))
    assert contract.activate(again).status is SettlementStatus.BAD_EPOCH
    assert contract.activate(handover).status is SettlementStatus.OK
    assert contract.activate(handover).status is SettlementStatus.BAD_EPOCH
    # What the first committee signed helps no later one in.
    theirs = hand_over(contract, FIRST, SECOND, signers=(0, 1), next_committee_hash=THIRD.hash)
    assert contract.activate(theirs).status is SettlementStatus.BAD_SIGNATURE
    assert contract.committee_in_office() == (SECOND.hash, 4)


def test_only_a_sealed_committee_takes_office(contract: SettlementContract) -> None:
    other = replace(SECOND, retention_s=9_000)
    contract.open(other, contract.chain.accounts[3])
    for absent in (other.hash, bytes(32)):
        handover = hand_over(contract, FIRST, SECOND, next_committee_hash=absent)
        assert contract.activate(handover).status is SettlementStatus.NOT_SEALED


def test_registration_goes_on_where_it_stopped_and_strangers_do_not_disturb_it(
    contract: SettlementContract,
) -> None:
    chain, other = contract.chain, replace(SECOND, retention_s=9_000)
    registrar, stranger = chain.accounts[3:5]

    def register(index: int, sender: str, possession_of: int | None = None) -> None:
        member = other.members[index]
        proof = other.members[index if possession_of is None else possession_of].proof_of_possession
        values = g1_words(member.public_key), g2_words(proof), member.stake, member.disperser
        chain.transact(contract.address, _REGISTER, *values, sender=sender)

    contract.open(other, registrar)  # given up
    contract.open(other, registrar)
    register(0, registrar)
    with pytest.raises(EvmError, match="no committee open"):
        register(1, stranger)
    contract.open(other, stranger)
    register(1, stranger)
    with pytest.raises(EvmError, match="not this committee"):
        chain.transact(contract.address, _SEAL, other.hash, sender=stranger)
    with pytest.raises(EvmError, match="bad proof of possession"):
        register(1, registrar, possession_of=0)
    register(1, registrar)
    with pytest.raises(EvmError, match="keys out of order"):
        register(1, registrar)
    chain.transact(contract.address, _SEAL, other.hash, sender=registrar)
    assert contract.activate(hand_over(contract, FIRST, other)).status is SettlementStatus.OK


def test_the_calls_of_a_link_put_its_committee_in_office(contract: SettlementContract) -> None:
    other = replace(SECOND, retention_s=9_000)
    link = Link(hand_over(contract, FIRST, other), other)
    calls = handover_calls(link)
    assert [name for name, _ in calls] == ["open", "register", "register", "seal", "activate"]
    registrar = contract.chain.accounts[3]
    for _, data in calls:
        contract.chain._send({"from": registrar, "to": contract.address, "data": "0x" + data.hex()})
    assert contract.committee_in_office() == (other.hash, 4)


def test_impossible_parameters_are_not_opened(contract: SettlementContract) -> None:
    function = Function("open", ("uint64", "uint16", "uint32", "uint32", "uint32"))
    for values in ((4, 0, 2, 3, 9), (4, 4, 1, 2, 9), (4, 4, 4, 3, 9), (4, 129, 2, 3, 9), (4, 4, 2, 3, 0)):
        with pytest.raises(EvmError):
            contract.chain.transact(contract.address, function, *values)


def test_a_lost_quorum_is_recovered_after_the_delay(contract: SettlementContract) -> None:
    chain = contract.chain
    for committee_hash, sender, reason in (
        (SECOND.hash, 2, "only the recovery account"),
        (bytes([1]) * 32, 1, "not sealed"),
        # One of a later epoch would be ready at once when the committee before it takes office.
        (THIRD.hash, 1, "not of the next epoch"),
    ):
        with pytest.raises(EvmError, match=reason):
            contract.announce_recovery(committee_hash, sender=chain.accounts[sender])
    with pytest.raises(EvmError, match="no recovery is ready"):
        contract.recover()
    contract.announce_recovery(SECOND.hash, sender=chain.accounts[1])
    announced_s = chain.timestamp_s
    chain.set_time(announced_s + DELAY_S - 10)
    with pytest.raises(EvmError, match="no recovery is ready"):
        contract.recover()
    chain.set_time(announced_s + DELAY_S)
    contract.recover()
    assert contract.committee_in_office() == (SECOND.hash, 4)
    assert contract.valid_until_s(FIRST.hash) == chain.timestamp_s
    chain.set_time(chain.timestamp_s + 2)
    old = certify(FIRST, make_batch(FIRST).header, everyone(FIRST))
    assert contract.check(old) is SettlementStatus.COMMITTEE_ENDED
    with pytest.raises(EvmError, match="no recovery is ready"):
        contract.recover()


def test_a_committee_with_a_quorum_prevents_a_recovery(contract: SettlementContract) -> None:
    chain = contract.chain
    contract.announce_recovery(SECOND.hash, sender=chain.accounts[1])
    assert contract.activate(hand_over(contract, FIRST, SECOND)).status is SettlementStatus.OK
    chain.set_time(chain.timestamp_s + 2 * DELAY_S)
    with pytest.raises(EvmError, match="not of the next epoch"):
        contract.recover()
    assert contract.valid_until_s(FIRST.hash) == VALID_UNTIL_S


def test_a_recovery_can_be_taken_back(contract: SettlementContract) -> None:
    chain = contract.chain
    contract.announce_recovery(SECOND.hash, sender=chain.accounts[1])
    contract.announce_recovery(bytes(32), sender=chain.accounts[1])
    chain.set_time(chain.timestamp_s + 2 * DELAY_S)
    with pytest.raises(EvmError, match="no recovery is ready"):
        contract.recover()


def test_without_a_recovery_account_there_is_no_recovery(chain: Chain) -> None:
    contract = SettlementContract.create(chain, FIRST)
    with pytest.raises(EvmError, match="only the recovery account"):
        contract.announce_recovery(bytes(32), sender=chain.accounts[1])
    for recovery, delay_s in ((chain.accounts[1], 0), (None, DELAY_S)):
        with pytest.raises(EvmError, match="recovery delay"):
            SettlementContract.create(chain, FIRST, recovery=recovery, recovery_delay_s=delay_s)


def test_the_recovery_account_cannot_seat_the_first_committee(chain: Chain) -> None:
    """Before the deployer's committee is sealed no committee is in office, and none can follow."""
    contract = SettlementContract.create(chain, FIRST, recovery=chain.accounts[1], recovery_delay_s=DELAY_S)
    other = replace(SECOND, epoch=1)
    prepare(contract, other)
    with pytest.raises(EvmError, match="not sealed"):
        contract.announce_recovery(other.hash, sender=chain.accounts[1])
    assert contract.committee_in_office() == (bytes(32), 0)


def test_the_code_fits(contract: SettlementContract) -> None:
    assert len(contract.chain.code(contract.address)) <= 24_576  # EIP-170
