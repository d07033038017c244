"""The contract against certificates of a real committee, on the precompiles of an in-process EVM."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from da import bls
from da.protocol.certificate import Certificate
from da.protocol.committee import Committee
from da.protocol.payload_list import PayloadList
from da.settlement.contract import Settlement, SettlementContract, SettlementStatus, source
from da.settlement.encoding import g1_words, g2_words, signer_bits
from da.settlement.evm import Chain, EvmError, Function
from tests.da.settlement.support import MEMBERS, START_S, certify, make_batch, make_committee, secrets

EVERYONE = tuple(range(MEMBERS))
_CHECK = Function("check_certificate", ("bytes", "uint256", "bytes"), ("uint8",))
P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB


def raw_check(
    contract: SettlementContract, header: bytes, signers: int, signature: bytes
) -> SettlementStatus:
    return SettlementStatus(contract.chain.call(contract.address, _CHECK, header, signers, signature))


def test_constants_of_the_field_in_the_source() -> None:
    text = source()
    for name, value in {
        "P_HIGH": P >> 256,
        "P_LOW": P % 2**256,
        "HALF_P_HIGH": ((P - 1) // 2) >> 256,
        "HALF_P_LOW": ((P - 1) // 2) % 2**256,
    }.items():
        assert f"\n{name}: constant(uint256) = {value}\n" in text
    negated = g1_words(bls.public_key((1).to_bytes(32, "big")))
    y = P - int.from_bytes(negated[64:], "big")
    assert (negated[:64] + y.to_bytes(64, "big")).hex() in text


def test_certificate_of_everyone_and_of_a_quorum(contract: SettlementContract, committee: Committee) -> None:
    header = make_batch(committee).header
    assert contract.check(certify(committee, header, EVERYONE)) is SettlementStatus.OK
    assert contract.check(certify(committee, header, (1, 2, 3, 4, 5, 6))) is SettlementStatus.OK
    assert contract.check(certify(committee, header, (0, 2, 3, 4, 6))) is SettlementStatus.OK


def test_certificate_below_the_stake_threshold(contract: SettlementContract, committee: Committee) -> None:
    header = make_batch(committee).header
    # stakes are 10..16, 91 in all: two thirds are 60.67
    assert contract.check(certify(committee, header, (0, 1, 2, 3, 5))) is SettlementStatus.OK  # 61
    assert (
        contract.check(certify(committee, header, (0, 1, 2, 3, 4))) is SettlementStatus.BELOW_THRESHOLD
    )  # 60
    assert contract.check(certify(committee, header, (6,))) is SettlementStatus.BELOW_THRESHOLD


def test_signature_by_other_members_than_named(contract: SettlementContract, committee: Committee) -> None:
    certificate = certify(committee, make_batch(committee).header, EVERYONE)
    fewer = replace(certificate, signers=EVERYONE[1:])
    assert contract.check(fewer) is SettlementStatus.BAD_SIGNATURE


def test_changed_header(contract: SettlementContract, committee: Committee) -> None:
    certificate = certify(committee, make_batch(committee).header, EVERYONE)
    moved = replace(certificate, header=replace(certificate.header, timestamp_ms=START_S * 1000 + 1))
    assert contract.check(moved) is SettlementStatus.BAD_SIGNATURE


def test_every_byte_of_a_header_matters(contract: SettlementContract, committee: Committee) -> None:
    certificate = certify(committee, make_batch(committee).header, EVERYONE)
    encoded, signature = certificate.header.encode(), g2_words(certificate.signature)
    for offset in (0, 1, 2, 9, 10, 41, 42, 49, 57, 60, 89, 90, 121, 122, 123, 124, 155, 156, 187):
        changed = bytearray(encoded)
        changed[offset] ^= 1
        assert (
            raw_check(contract, bytes(changed), signer_bits(EVERYONE), signature) is not SettlementStatus.OK
        )


def test_foreign_chain_and_committee(contract: SettlementContract, committee: Committee) -> None:
    other_chain = make_committee(chain_id=8)
    certificate = certify(other_chain, make_batch(other_chain).header, EVERYONE)
    assert contract.check(certificate) is SettlementStatus.FOREIGN_CHAIN
    other = make_committee(count=MEMBERS - 1)
    certificate = certify(other, make_batch(other).header, EVERYONE[:-1])
    assert contract.check(certificate) is SettlementStatus.FOREIGN_COMMITTEE


def test_malformed_inputs_get_a_status(contract: SettlementContract, committee: Committee) -> None:
    certificate = certify(committee, make_batch(committee).header, EVERYONE)
    header, signature = certificate.header.encode(), g2_words(certificate.signature)
    everyone = signer_bits(EVERYONE)
    S = SettlementStatus
    assert raw_check(contract, b"", everyone, signature) is S.BAD_HEADER
    assert raw_check(contract, header[:-1], everyone, signature) is S.BAD_HEADER
    assert raw_check(contract, header + b"\0", everyone, signature) is S.BAD_HEADER
    assert raw_check(contract, b"\0\2" + header[2:], everyone, signature) is S.BAD_HEADER
    assert raw_check(contract, header, 0, signature) is S.BAD_SIGNERS
    assert raw_check(contract, header, everyone | 1 << MEMBERS, signature) is S.BAD_SIGNERS
    assert raw_check(contract, header, 1 << 255, signature) is S.BAD_SIGNERS
    for bad in (b"", signature[:-1], signature + b"\0", bytes(256), b"\xff" * 256, signature[:-1] + b"\1"):
        assert raw_check(contract, header, everyone, bad) is S.BAD_SIGNATURE


def test_unsealed_contract_accepts_nothing(chain: Chain, committee: Committee) -> None:
    contract = _deploy_unsealed(chain, committee)
    certificate = certify(committee, make_batch(committee).header, EVERYONE)
    assert contract.check(certificate) is SettlementStatus.NOT_SEALED


def test_registration_refuses_what_a_rogue_would_send(chain: Chain, committee: Committee) -> None:
    contract = _deploy_unsealed(chain, committee)
    first, second = committee.members[:2]
    key, possession = g1_words(first.public_key), g2_words(first.proof_of_possession)
    other_possession = g2_words(second.proof_of_possession)
    y = P - int.from_bytes(key[64:], "big")
    negated = key[:64] + y.to_bytes(64, "big")
    padded = b"\1" + key[1:]
    for bad_key, bad_possession, stake in (
        (key, other_possession, 1),  # somebody else's
        (negated, possession, 1),  # -P has another compressed form, so another message
        (bytes(128), bytes(256), 1),  # the identity
        (padded, possession, 1),
        (key, possession, 0),
        (key[:-1], possession, 1),
    ):
        with pytest.raises(EvmError):
            _register(contract, bad_key, bad_possession, stake)
    _register(contract, g1_words(second.public_key), other_possession, second.stake)
    with pytest.raises(EvmError, match="keys out of order"):
        _register(contract, key, possession, first.stake)
    with pytest.raises(EvmError, match="keys out of order"):
        _register(contract, g1_words(second.public_key), other_possession, second.stake)


def test_only_the_owner_registers_and_seals(chain: Chain, committee: Committee) -> None:
    contract = _deploy_unsealed(chain, committee)
    member = committee.members[0]
    with pytest.raises(EvmError, match="only the owner"):
        _register(
            contract,
            g1_words(member.public_key),
            g2_words(member.proof_of_possession),
            member.stake,
            sender=chain.accounts[2],
        )
    with pytest.raises(EvmError, match="only the owner"):
        chain.transact(
            contract.address, Function("seal", ("bytes32",)), committee.hash, sender=chain.accounts[2]
        )


def test_seal_refuses_a_hash_of_another_committee(chain: Chain, committee: Committee) -> None:
    contract = _deploy_unsealed(chain, committee)
    for member in committee.members[:-1]:
        _register(
            contract,
            g1_words(member.public_key),
            g2_words(member.proof_of_possession),
            member.stake,
            member.disperser,
        )
    with pytest.raises(EvmError, match="not this committee"):
        chain.transact(contract.address, Function("seal", ("bytes32",)), committee.hash)


def test_nobody_changes_a_sealed_committee(contract: SettlementContract, committee: Committee) -> None:
    member = committee.members[0]
    with pytest.raises(EvmError, match="only the owner"):
        _register(contract, g1_words(member.public_key), g2_words(member.proof_of_possession), member.stake)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_settle_every_payload_of_a_batch(
    contract: SettlementContract, committee: Committee, count: int
) -> None:
    batch = make_batch(committee, payload_count=count)
    certificate = certify(committee, batch.header, EVERYONE)
    for index, entry in enumerate(batch.payloads.entries):
        assert contract.settled(*entry.key) is None
        assert contract.settle(certificate, batch.payloads, index).status is SettlementStatus.OK
        assert contract.settled(*entry.key) == batch.header.hash


def test_settle_refuses_a_payload_that_the_batch_does_not_hold(
    contract: SettlementContract, committee: Committee
) -> None:
    batch, other = make_batch(committee, 3), make_batch(committee, 5)
    certificate = certify(committee, batch.header, EVERYONE)
    for index in range(5):
        assert (
            contract.settle(certificate, other.payloads, index).status is SettlementStatus.BAD_PAYLOAD_PROOF
        )
    assert contract.settled(*other.payloads.entries[4].key) is None


def test_settle_refuses_a_bad_certificate(contract: SettlementContract, committee: Committee) -> None:
    batch = make_batch(committee)
    weak = certify(committee, batch.header, (0, 1))
    assert contract.settle(weak, batch.payloads, 0).status is SettlementStatus.BELOW_THRESHOLD
    assert contract.settled(*batch.payloads.entries[0].key) is None


def test_settle_waits_for_the_sampling_delay(chain: Chain, committee: Committee) -> None:
    contract = SettlementContract.deploy(chain, committee, sampling_delay_s=600)
    batch = make_batch(committee, timestamp_s=chain.timestamp_s)
    certificate = certify(committee, batch.header, EVERYONE)
    assert contract.settle(certificate, batch.payloads, 0).status is SettlementStatus.TOO_EARLY
    chain.set_time(chain.timestamp_s + 500)
    assert contract.settle(certificate, batch.payloads, 1).status is SettlementStatus.TOO_EARLY
    chain.set_time(chain.timestamp_s + 200)
    assert contract.settle(certificate, batch.payloads, 0).status is SettlementStatus.OK
    assert contract.settle(certificate, batch.payloads, 1).status is SettlementStatus.OK, "one delay a batch"


def test_an_old_timestamp_does_not_shorten_the_sampling_delay(chain: Chain, committee: Committee) -> None:
    contract = SettlementContract.deploy(chain, committee, guardian=chain.accounts[1], sampling_delay_s=600)
    batch = make_batch(committee, timestamp_s=chain.timestamp_s - 3600)
    certificate = certify(committee, batch.header, EVERYONE)
    assert contract.settle(certificate, batch.payloads, 0).status is SettlementStatus.TOO_EARLY
    contract.veto(batch.header.hash, b"\1" * 32)
    chain.set_time(chain.timestamp_s + 700)
    assert contract.settle(certificate, batch.payloads, 0).status is SettlementStatus.VETOED


def test_a_refused_batch_starts_no_delay(chain: Chain, committee: Committee) -> None:
    contract = SettlementContract.deploy(chain, committee, sampling_delay_s=600)
    batch = make_batch(committee, timestamp_s=chain.timestamp_s)
    weak = certify(committee, batch.header, (0, 1))
    assert contract.settle(weak, batch.payloads, 0).status is SettlementStatus.BELOW_THRESHOLD
    future = make_batch(committee, timestamp_s=chain.timestamp_s + 650)
    early = certify(committee, future.header, EVERYONE)
    assert contract.settle(early, future.payloads, 0).status is SettlementStatus.TOO_EARLY
    chain.set_time(chain.timestamp_s + 700)
    certificate = certify(committee, batch.header, EVERYONE)
    assert contract.settle(certificate, batch.payloads, 0).status is SettlementStatus.TOO_EARLY
    assert contract.settle(early, future.payloads, 0).status is SettlementStatus.TOO_EARLY


def test_settle_refuses_after_the_retention(
    contract: SettlementContract, chain: Chain, committee: Committee
) -> None:
    batch = make_batch(committee, timestamp_s=chain.timestamp_s)
    chain.set_time(chain.timestamp_s + committee.retention_s + 100)
    settlement = contract.settle(certify(committee, batch.header, EVERYONE), batch.payloads, 0)
    assert settlement.status is SettlementStatus.EXPIRED


def test_veto_stops_settlement(contract: SettlementContract, committee: Committee) -> None:
    batch = make_batch(committee)
    certificate = certify(committee, batch.header, EVERYONE)
    contract.veto(batch.header.hash, hashlib.sha256(b"report").digest())
    settlement: Settlement = contract.settle(certificate, batch.payloads, 0)
    assert settlement.status is SettlementStatus.VETOED
    assert contract.settled(*batch.payloads.entries[0].key) is None


def test_veto_is_the_guardians_alone(
    contract: SettlementContract, chain: Chain, committee: Committee
) -> None:
    batch = make_batch(committee)
    with pytest.raises(EvmError, match="only the guardian"):
        chain.transact(
            contract.address,
            Function("veto", ("bytes32", "bytes32")),
            batch.header.hash,
            b"\1" * 32,
            sender=chain.accounts[2],
        )
    with pytest.raises(EvmError, match="no evidence"):
        contract.veto(batch.header.hash, bytes(32))
    assert contract.check(certify(committee, batch.header, EVERYONE)) is SettlementStatus.OK


def test_settling_twice_keeps_the_first_header(contract: SettlementContract, committee: Committee) -> None:
    first = make_batch(committee)
    second = make_batch(committee, timestamp_s=START_S + 1)
    for batch in (first, second):
        contract.settle(certify(committee, batch.header, EVERYONE), batch.payloads, 0)
    assert contract.settled(*first.payloads.entries[0].key) == first.header.hash


def test_the_same_bytes_settle_for_each_namespace(contract: SettlementContract, committee: Committee) -> None:
    batch = make_batch(committee)
    entry = batch.payloads.entries[0]
    theirs = b"\xee" * 32
    copied = PayloadList((replace(entry, namespace=theirs),))
    header = replace(batch.header, row_count=1, payloads_root=copied.root)
    assert contract.settle(certify(committee, header, EVERYONE), copied, 0).status is SettlementStatus.OK
    assert contract.settled(*entry.key) is None
    certificate = certify(committee, batch.header, EVERYONE)
    assert contract.settle(certificate, batch.payloads, 0).status is SettlementStatus.OK
    assert contract.settled(*entry.key) == batch.header.hash
    assert contract.settled(theirs, entry.payload_id) == header.hash


def _deploy_unsealed(chain: Chain, committee: Committee) -> SettlementContract:
    from da.settlement.contract import _CONSTRUCTOR, DeploymentCost, bytecode

    values = (
        committee.chain_id,
        committee.epoch,
        committee.replication,
        committee.threshold_numerator,
        committee.threshold_denominator,
        committee.retention_s,
        0,
        "0x" + "00" * 20,
    )
    address, gas = chain.deploy(bytecode(), _CONSTRUCTOR, values, chain.accounts[0])
    return SettlementContract(chain, address, None, DeploymentCost(gas, 0, 0))


def _register(
    contract: SettlementContract,
    key: bytes,
    possession: bytes,
    stake: int,
    disperser: bool = False,
    sender: str | None = None,
) -> None:
    function = Function("register", ("bytes", "bytes", "uint64", "bool"))
    contract.chain.transact(contract.address, function, key, possession, stake, disperser, sender=sender)


def test_certificates_of_bls_keys_below_and_above_half(committee: Committee) -> None:
    """The committee has keys of both signs, so registration covers both branches of compression."""
    signs = {bls.public_key(secret)[0] & 0x20 for secret in secrets(MEMBERS)}
    assert signs == {0, 0x20}
    assert isinstance(certify(committee, make_batch(committee).header, (0,)), Certificate)
