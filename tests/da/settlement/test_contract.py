"""The contract against certificates of a real committee, on the precompiles of an in-process EVM."""

from __future__ import annotations

from dataclasses import replace

import pytest

from da import bls
from da.protocol.certificate import Certificate
from da.protocol.committee import Committee
from da.protocol.errors import InvalidHeader
from da.protocol.header import Header
from da.protocol.payload_list import PayloadEntry, PayloadList
from da.settlement.contract import Record, SettlementContract, SettlementStatus, source
from da.settlement.encoding import g1_words, g2_words, signer_bits
from da.settlement.evm import Chain, EvmError, Function
from tests.da.settlement.support import (
    MEMBERS,
    START_S,
    certify,
    make_batch,
    make_committee,
    secrets,
    sign_header,
)

EVERYONE = tuple(range(MEMBERS))
_CHECK = Function("check_certificate", ("bytes", "uint256", "bytes"), ("uint8",))
P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB


def raw_check(
    contract: SettlementContract, header: bytes, signers: int, signature: bytes
) -> SettlementStatus:
    return SettlementStatus(contract.chain.call(contract.address, _CHECK, header, signers, signature))


def signed_check(contract: SettlementContract, committee: Committee, header: bytes) -> SettlementStatus:
    """The status of a certificate by every member for these header bytes, valid or not."""
    return raw_check(
        contract, header, signer_bits(EVERYONE), g2_words(sign_header(committee, header, EVERYONE))
    )


def test_code_fits_into_the_limit_of_eip_170(contract: SettlementContract) -> None:
    assert 10_000 < len(contract.chain.code(contract.address)) <= 24_576


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


def test_headers_that_the_decoder_refuses(contract: SettlementContract, committee: Committee) -> None:
    """Signed by everyone, so that the header alone is at fault."""
    good = make_batch(committee).header.encode()
    for offset, wrong in (
        (0, b"\0\2"),
        (42, bytes(8)),  # height 0
        (42, (2).to_bytes(8, "big")),  # with a parent of zeros
        (58, b"\1" * 32),  # a parent at height 1
        (122, bytes(2)),  # no rows
        (122, (257).to_bytes(2, "big")),
    ):
        header = good[:offset] + wrong + good[offset + len(wrong) :]
        with pytest.raises(InvalidHeader):
            Header.decode(header)
        assert signed_check(contract, committee, header) is SettlementStatus.BAD_HEADER
    most_rows = good[:122] + (256).to_bytes(2, "big") + good[124:]
    assert signed_check(contract, committee, most_rows) is SettlementStatus.OK
    later = good[:42] + (2).to_bytes(8, "big") + good[50:58] + b"\1" * 32 + good[90:]
    assert signed_check(contract, committee, later) is SettlementStatus.OK


def test_only_dispersers_of_the_committee_propose(contract: SettlementContract, committee: Committee) -> None:
    good = make_batch(committee).header.encode()
    assert not committee.members[1].disperser
    for stranger in (committee.members[1].id, b"\1" * 32, bytes(32)):
        header = good[:10] + stranger + good[42:]
        assert signed_check(contract, committee, header) is SettlementStatus.BAD_DISPERSER


def test_unsealed_contract_accepts_nothing(chain: Chain, committee: Committee) -> None:
    contract = SettlementContract.create(chain, committee)
    certificate = certify(committee, make_batch(committee).header, EVERYONE)
    assert contract.check(certificate) is SettlementStatus.NOT_SEALED


def test_registration_refuses_what_a_rogue_would_send(chain: Chain, committee: Committee) -> None:
    contract = SettlementContract.create(chain, committee)
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
    contract = SettlementContract.create(chain, committee)
    member = committee.members[0]
    with pytest.raises(EvmError, match="no committee open"):
        _register(
            contract,
            g1_words(member.public_key),
            g2_words(member.proof_of_possession),
            member.stake,
            sender=chain.accounts[2],
        )
    with pytest.raises(EvmError, match="no committee open"):
        chain.transact(
            contract.address, Function("seal", ("bytes32",)), committee.hash, sender=chain.accounts[2]
        )


def test_seal_refuses_a_hash_of_another_committee(chain: Chain, committee: Committee) -> None:
    contract = SettlementContract.create(chain, committee)
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
    with pytest.raises(EvmError, match="no committee open"):
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
        assert _settled_under(contract, entry) == batch.header.hash


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
    contract = SettlementContract.deploy(chain, committee, sampling_delay_s=600)
    batch = make_batch(committee, timestamp_s=chain.timestamp_s - 3600)
    certificate = certify(committee, batch.header, EVERYONE)
    assert contract.presented(batch.header.hash) is None
    assert contract.settle(certificate, batch.payloads, 0).status is SettlementStatus.TOO_EARLY
    assert contract.presented(batch.header.hash) == chain.timestamp_s
    assert contract.settle(certificate, batch.payloads, 0).status is SettlementStatus.TOO_EARLY
    chain.set_time(chain.timestamp_s + 700)
    assert contract.settle(certificate, batch.payloads, 0).status is SettlementStatus.OK


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


def test_record_says_until_when_the_data_is_kept(contract: SettlementContract, committee: Committee) -> None:
    batch = make_batch(committee, timestamp_s=START_S - 50)
    entry = batch.payloads.entries[0]
    contract.settle(certify(committee, batch.header, EVERYONE), batch.payloads, 0)
    record = contract.settled(*entry.key)
    assert record == Record(batch.header.hash, START_S - 50 + committee.retention_s)


def test_a_later_batch_has_a_record_of_its_own(contract: SettlementContract, committee: Committee) -> None:
    first, second = make_batch(committee), make_batch(committee, timestamp_s=START_S + 1)
    key = first.payloads.entries[0].key
    for batch in (first, second, first):
        assert (
            contract.settle(certify(committee, batch.header, EVERYONE), batch.payloads, 0).status
            is SettlementStatus.OK
        )
    until_s = START_S + committee.retention_s
    assert contract.retained_until_s(*key, first.header.hash) == until_s
    assert contract.retained_until_s(*key, second.header.hash) == until_s + 1
    assert contract.settled(*key) == Record(second.header.hash, until_s + 1)
    assert contract.retained_until_s(*key, b"\1" * 32) is None


def test_an_older_batch_does_not_shorten_the_record(
    contract: SettlementContract, committee: Committee
) -> None:
    newer, older = make_batch(committee, timestamp_s=START_S + 1), make_batch(committee)
    for batch in (newer, older):
        contract.settle(certify(committee, batch.header, EVERYONE), batch.payloads, 0)
    key = newer.payloads.entries[0].key
    assert contract.settled(*key) == Record(newer.header.hash, START_S + 1 + committee.retention_s)
    assert contract.retained_until_s(*key, older.header.hash) == START_S + committee.retention_s


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
    assert _settled_under(contract, entry) == batch.header.hash
    assert _settled_under(contract, replace(entry, namespace=theirs)) == header.hash


def _settled_under(contract: SettlementContract, entry: PayloadEntry) -> bytes:
    record = contract.settled(*entry.key)
    assert record is not None
    return record.header_hash


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
