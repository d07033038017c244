"""Committees with real keys, batches over made-up commitments, and certificates of any signers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np

from da import bls
from da.protocol.certificate import Certificate, attestation_message
from da.protocol.committee import Committee, Member
from da.protocol.handover import Handover, HandoverTerms
from da.protocol.header import ZERO_HASH, Header
from da.protocol.merkle import commitments_root
from da.protocol.payload import payload_id
from da.protocol.payload_list import PayloadEntry, PayloadList
from da.settlement.contract import SettlementContract

CHAIN_ID = 7
MEMBERS = 7
VALID_UNTIL_S = 2_000_005_000  # of the committee before, in handovers
START_S = 2_000_000_000  # block time of the tests; the chain's own clock starts earlier


def secrets(count: int) -> list[bytes]:
    """Secret keys 1..count, in ascending order of their public keys."""
    return sorted(((i + 1).to_bytes(32, "big") for i in range(count)), key=bls.public_key)


def make_committee(
    count: int = MEMBERS,
    chain_id: int = CHAIN_ID,
    retention_s: int = 86_400,
    stakes: Sequence[int] | None = None,
) -> Committee:
    """Members of these stakes, 10, 11, 12 and so on if not said; the first is the disperser."""
    members = tuple(
        Member(
            name=f"m{i}",
            url=f"http://127.0.0.1:{9000 + i}",
            public_key=bls.public_key(secret),
            proof_of_possession=bls.prove_possession(secret),
            stake=10 + i if stakes is None else stakes[i],
            disperser=i == 0,
        )
        for i, secret in enumerate(secrets(count))
    )
    return Committee(chain_id=chain_id, epoch=3, retention_s=retention_s, members=members)


@dataclass(frozen=True)
class Batch:
    header: Header
    payloads: PayloadList


def make_batch(committee: Committee, payload_count: int = 3, timestamp_s: int = START_S) -> Batch:
    commitments = np.arange(payload_count * 48, dtype=np.uint8).reshape(payload_count, 48)
    ordered = sorted(
        (bytes([i + 1]) * 32, payload_id(1000 + i, commitments[i : i + 1]), 1000 + i)
        for i in range(payload_count)
    )
    entries = tuple(
        PayloadEntry(namespace=ns, payload_id=pid, first_row=row, row_count=1, length=length)
        for row, (ns, pid, length) in enumerate(ordered)
    )
    payloads = PayloadList(entries)
    header = Header(
        chain_id=committee.chain_id,
        disperser_id=committee.dispersers[0].id,
        height=1,
        timestamp_ms=timestamp_s * 1000,
        parent=ZERO_HASH,
        committee_hash=committee.hash,
        row_count=payload_count,
        payloads_root=payloads.root,
        commitments_root=commitments_root(commitments),
    )
    return Batch(header, payloads)


def sign_header(committee: Committee, header_bytes: bytes, signers: Sequence[int]) -> bytes:
    """Aggregate signature of these members for any bytes in a header's place."""
    header_hash = sha256(b"cellar/header/v1" + header_bytes).digest()
    message = attestation_message(committee.chain_id, committee.hash, header_hash)
    keys = secrets(len(committee.members))
    return bls.aggregate([bls.sign(keys[i], message) for i in signers])


def certify(committee: Committee, header: Header, signers: tuple[int, ...]) -> Certificate:
    message = attestation_message(header.chain_id, header.committee_hash, header.hash)
    keys = secrets(len(committee.members))
    signature = bls.aggregate([bls.sign(keys[i], message) for i in signers])
    return Certificate(
        header=header, committee_size=len(committee.members), signers=signers, signature=signature
    )


def hand_over(
    contract: SettlementContract,
    old: Committee,
    new: Committee,
    /,
    *,
    signers: tuple[int, ...] | None = None,
    **changes: Any,
) -> Handover:
    """The old committee's statement, for this contract on its chain; all sign unless said otherwise."""
    terms = HandoverTerms.between(
        old,
        new,
        valid_until_s=VALID_UNTIL_S,
        contract=bytes.fromhex(contract.address[2:]),
        settlement_chain_id=contract.chain.chain_id,
    )
    terms = replace(terms, **changes)
    chosen = range(len(old.members)) if signers is None else signers
    keys = secrets(len(old.members))
    return Handover.gather(terms, old, {index: terms.sign(keys[index]).signature for index in chosen})
