"""The contract against the Python decoder: the same verdict for the same certificate, valid or mutated.

Each case is a valid certificate after up to three changes of its header, signers or signature, signed again
after the change of the header or not. Python decodes and verifies it; the contract must give the status that
belongs to the check that failed. The slot bound is the exception: the contract cannot see it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import pytest
from py_arkworks_bls12381 import G2Point

from da import bls
from da.protocol.attestation import attestation_message
from da.protocol.certificate import Certificate
from da.protocol.committee import Committee, Member
from da.protocol.errors import InvalidCertificate, ProtocolError
from da.protocol.header import HEADER_BYTES, Header
from da.settlement.contract import SettlementContract, SettlementStatus
from da.settlement.encoding import g2_words
from da.settlement.evm import Chain, Function, fast_precompiles
from tests.da.settlement.support import CHAIN_ID, START_S

_CHECK = Function("check_certificate", ("bytes", "uint256", "bytes"), ("uint8",))
R = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
S = SettlementStatus
STATUS_OF = {
    "chain": S.FOREIGN_CHAIN,
    "committee": S.FOREIGN_COMMITTEE,
    "disperser": S.BAD_DISPERSER,
    "signers": S.BAD_SIGNERS,
    "stake": S.BELOW_THRESHOLD,
    "signature": S.BAD_SIGNATURE,
}
# Offset and width of a header's fields, and values at their edges; other committees' values are among them.
FIELDS: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "version": (0, 2, (0, 1, 2, 256)),
    "chain_id": (2, 8, (0, CHAIN_ID, CHAIN_ID + 1, 2**64 - 1)),
    "disperser_id": (10, 32, (0, 1, 2**256 - 1)),
    "height": (42, 8, (0, 1, 2, 2**63, 2**64 - 1)),
    "timestamp_ms": (50, 8, (0, 1, 2**64 - 1)),
    "parent": (58, 32, (0, 1, 2**255)),
    "committee_hash": (90, 32, (0, 1)),
    "row_count": (122, 2, (0, 1, 255, 256, 257, 512, 65535)),
    "payloads_root": (124, 32, (0, 1)),
    "commitments_root": (156, 32, (0, 1)),
}


@dataclass(frozen=True)
class Signed:
    """A committee, its secret keys in the committee's order, and its contract."""

    committee: Committee
    secrets: tuple[bytes, ...]
    contract: SettlementContract

    def sign(self, header: bytes, signers: Sequence[int]) -> bytes:
        message = _message(self.committee, header)
        return bls.aggregate([bls.sign(self.secrets[i], message) for i in signers])


def _deploy(numbers: Sequence[int], stakes: Sequence[int]) -> Signed:
    secrets = sorted((number.to_bytes(32, "big") for number in numbers), key=bls.public_key)
    stake_of = dict(zip(numbers, stakes, strict=True))
    members = tuple(
        Member(
            name=f"m{i}",
            url=f"http://127.0.0.1:{9000 + i}",
            public_key=bls.public_key(secret),
            proof_of_possession=bls.prove_possession(secret),
            stake=stake_of[int.from_bytes(secret, "big")],
            disperser=i % 3 == 0,
        )
        for i, secret in enumerate(secrets)
    )
    committee = Committee(chain_id=CHAIN_ID, epoch=5, retention_s=86_400, members=members)
    chain = Chain()
    chain.set_time(START_S)
    with fast_precompiles():
        return Signed(committee, tuple(secrets), SettlementContract.deploy(chain, committee))


@pytest.fixture(scope="module")
def committees() -> list[Signed]:
    """One of six; one whose keys of the most stake are each other's negations: their sum is the identity."""
    return [_deploy(range(1, 7), range(10, 16)), _deploy((1, R - 1, 2), (50, 50, 10))]


def test_fields_are_those_of_a_header() -> None:
    assert sum(width for _, width, _ in FIELDS.values()) == HEADER_BYTES
    assert list(FIELDS) == list(Header.__dataclass_fields__)


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize(
    ("seed", "count"), [(1, 120), *(pytest.param(seed, 300, marks=pytest.mark.slow) for seed in range(2, 7))]
)
def test_contract_and_decoder_agree(committees: list[Signed], seed: int, count: int) -> None:
    rng = random.Random(seed)
    seen: Counter[SettlementStatus] = Counter()
    for number in range(count):
        signed = rng.choice(committees)
        header, signers, words = _case(rng, signed)
        expected = _python(signed.committee, header, signers, words)
        contract = signed.contract
        status = S(contract.chain.call(contract.address, _CHECK, header, signers, words))
        assert status is expected, (seed, number, header.hex(), bin(signers), words.hex())
        seen[status] += 1
    assert set(seen) == {S.OK, S.BAD_HEADER, *STATUS_OF.values()}, seen


def test_an_aggregate_key_of_the_identity_signs_nothing(committees: list[Signed], fast: None) -> None:
    signed = committees[1]
    header = _valid_header(random.Random(0), signed.committee)
    numbers = [int.from_bytes(secret, "big") for secret in signed.secrets]
    both = (numbers.index(1), numbers.index(R - 1))
    bits = sum(1 << index for index in both)
    # The sum of their signatures is the identity, which the library does not aggregate to bytes.
    status = signed.contract.chain.call(signed.contract.address, _CHECK, header, bits, bytes(256))
    assert S(status) is S.BAD_SIGNATURE is _python(signed.committee, header, bits, bytes(256))


# -- cases ------------------------------------------------------------------------------------------------


def _valid_header(rng: random.Random, committee: Committee) -> bytes:
    height = rng.choice((1, 1, 2, 1000, 2**64 - 1))
    return Header(
        chain_id=committee.chain_id,
        disperser_id=rng.choice(committee.dispersers).id,
        height=height,
        timestamp_ms=rng.choice((0, START_S * 1000, 2**64 - 1)),
        parent=bytes(32) if height == 1 else rng.randbytes(32),
        committee_hash=committee.hash,
        row_count=rng.choice((1, 2, 255, 256)),
        payloads_root=rng.randbytes(32),
        commitments_root=rng.randbytes(32),
    ).encode()


def _case(rng: random.Random, signed: Signed) -> tuple[bytes, int, bytes]:
    """Header bytes, signer bits and signature words."""
    size = len(signed.committee.members)
    header = _valid_header(rng, signed.committee)
    kind = rng.choice(("header", "header", "header", "signers", "signature", "all", "none"))
    signers = list(range(size))
    if kind in ("signers", "all") or rng.random() < 0.3:
        signers = sorted(rng.sample(signers, rng.randint(max(1, size // 2), size)))
    before = header
    if kind in ("header", "all"):
        for _ in range(rng.choice((1, 1, 2))):
            header = _mutated_header(rng, signed.committee, header)
    try:
        words = g2_words(signed.sign(before if rng.random() < 0.2 else header, signers))
    except (bls.BlsError, ProtocolError):  # the signatures of a key and its negation cancel
        words = bytes(256)
    bits = sum(1 << index for index in signers)
    if kind in ("signers", "all") and rng.random() < 0.6:
        bits = rng.choice((0, bits ^ 1 << rng.randrange(size), bits | 1 << rng.randrange(256), 2**256 - 1))
    if kind in ("signature", "all") and rng.random() < 0.8:
        words = _mutated_words(rng, words)
    return header, bits, words


def _mutated_header(rng: random.Random, committee: Committee, header: bytes) -> bytes:
    if len(header) != HEADER_BYTES:
        return header
    kind = rng.choice(("field", "field", "field", "field", "bit", "length", "member"))
    if kind == "bit":
        position = rng.randrange(8 * len(header))
        changed = bytearray(header)
        changed[position // 8] ^= 1 << position % 8
        return bytes(changed)
    if kind == "length":
        return rng.choice(
            (header[:-1], header + b"\0", b"", header[: rng.randrange(HEADER_BYTES)], header * 2)
        )
    if kind == "member":
        return header[:10] + rng.choice(committee.members).id + header[42:]
    offset, width, values = rng.choice(list(FIELDS.values()))
    return header[:offset] + rng.choice(values).to_bytes(width, "big") + header[offset + width :]


def _mutated_words(rng: random.Random, words: bytes) -> bytes:
    kind = rng.choice(("bit", "length", "identity", "other", "negated", "padding", "outside"))
    if kind == "bit":
        position = rng.randrange(8 * len(words))
        return (
            words[: position // 8]
            + bytes([words[position // 8] ^ 1 << position % 8])
            + words[position // 8 + 1 :]
        )
    if kind == "length":
        return rng.choice((words[:-1], words + b"\0", b"", words * 2))
    if kind == "identity":
        return bytes(256)
    if kind == "padding":
        return b"\1" + words[1:]
    if kind == "outside":  # on the curve, outside the subgroup: found by trying x = 1, 2, ...
        return _OUTSIDE_SUBGROUP
    if kind == "other":
        return g2_words(bls.sign((99).to_bytes(32, "big"), rng.randbytes(32)))
    point = _point(words)
    return words if point is None else g2_words(bytes((-point).to_compressed_bytes()))


def _outside_subgroup() -> bytes:
    for x in range(1, 100):
        compressed = bytes([0x80]) + bytes(47) + x.to_bytes(48, "big")
        try:
            point = G2Point.from_compressed_bytes_unchecked(compressed)
        except ValueError:
            continue
        if not point.is_in_subgroup():
            flat = bytes(point.to_xy_bytes_be())
            return b"".join(bytes(16) + flat[i : i + 48] for i in range(0, 192, 48))
    raise AssertionError("each x was in the subgroup")


_OUTSIDE_SUBGROUP = _outside_subgroup()


# -- the Python side --------------------------------------------------------------------------------------


def _python(committee: Committee, header: bytes, bits: int, words: bytes) -> SettlementStatus:
    """The status that belongs to the first check that fails in Python."""
    try:
        Header.decode(header)
    except ProtocolError:
        return S.BAD_HEADER
    size = len(committee.members)
    beyond = bits >> size != 0
    point = _point(words)
    # A signature that has no compressed form is no certificate; any invalid bytes stand for it.
    signature = bytes(96) if point is None else bytes(point.to_compressed_bytes())
    bitmap = (bits % 2**size).to_bytes((size + 7) // 8, "little")
    certificate = Certificate.decode(header + size.to_bytes(2, "big") + bitmap + signature)
    try:
        certificate.verify(committee)
    except InvalidCertificate as error:
        if beyond and error.check in ("signers", "stake", "slots", "signature"):
            return S.BAD_SIGNERS
        if error.check == "slots":
            keys = [committee.members[index].public_key for index in certificate.signers]
            good = bls.verify_aggregate(keys, _message(committee, header), signature)
            return S.OK if good else S.BAD_SIGNATURE
        return STATUS_OF[error.check]
    return S.BAD_SIGNERS if beyond else S.OK


def _message(committee: Committee, header: bytes) -> bytes:
    header_hash = sha256(b"cellar/header/v1" + header).digest()
    return attestation_message(committee.chain_id, committee.hash, header_hash)


def _point(words: bytes) -> G2Point | None:
    chunks = [words[i : i + 64] for i in range(0, len(words), 64)]
    if len(words) != 256 or any(chunk[:16] != bytes(16) for chunk in chunks):
        return None
    if not any(words):
        return G2Point.identity()
    try:
        point = G2Point.from_xy_bytes_be(b"".join(chunk[16:] for chunk in chunks))
    except ValueError:
        return None
    return point if point.is_in_subgroup() else None
