"""Builders of committees, keys and batches with fixed values, for the protocol's tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from da import bls
from da.protocol import (
    ZERO_HASH,
    Attestation,
    Certificate,
    Committee,
    Header,
    Member,
    PayloadEntry,
    PayloadList,
    commitments_root,
    namespace,
    payload_id,
)
from erasure.constants import BLS_MODULUS
from erasure.packing import rows_for


def secret_of(seed: int) -> bytes:
    """A fixed secret key a seed."""
    digest = int.from_bytes(sha256(b"test key %d" % seed).digest(), "big")
    return (1 + digest % (BLS_MODULUS - 1)).to_bytes(32, "big")


@dataclass(frozen=True)
class Party:
    """A committee with its members' secrets, in the members' order."""

    committee: Committee
    secrets: tuple[bytes, ...]


@dataclass(frozen=True)
class Batch:
    """A header with what it binds."""

    header: Header
    payload_list: PayloadList
    commitments: npt.NDArray[np.uint8]


def build_party(stakes: Sequence[int], **parameters: Any) -> Party:
    """A committee with real keys; the first stake's member is a disperser."""
    members, secrets = [], {}
    for seed, stake in enumerate(stakes):
        secret = secret_of(seed)
        key = bls.public_key(secret)
        secrets[key] = secret
        members.append(
            Member(
                name=f"node-{seed}",
                url=f"http://127.0.0.1:{9000 + seed}",
                public_key=key,
                proof_of_possession=bls.prove_possession(secret),
                stake=stake,
                disperser=seed == 0,
            )
        )
    committee = Committee(**{"chain_id": 7, "epoch": 1, "members": tuple(members), **parameters})
    return Party(committee, tuple(secrets[member.public_key] for member in committee.members))


def build_committee(stakes: Sequence[int], **parameters: Any) -> Committee:
    """A committee of keys that are no points: enough where nothing is signed, and cheap."""
    members = tuple(
        Member(
            name=f"n{i}",
            url="http://localhost",
            public_key=sha256(b"k%d" % i).digest() + bytes(16),
            proof_of_possession=bytes(96),
            stake=stake,
            disperser=i == 0,
        )
        for i, stake in enumerate(stakes)
    )
    return Committee(**{"chain_id": 7, "epoch": 1, "members": members, **parameters})


def build_list(payloads: Sequence[tuple[str, int]]) -> tuple[PayloadList, npt.NDArray[np.uint8]]:
    """A list of payloads (namespace name, length) with commitments that are no points."""
    rows = sum(rows_for(length) for _, length in payloads)
    commitments = np.random.default_rng(rows).integers(0, 256, (rows, 48), dtype=np.uint8)
    # Ids depend on commitments, which depend on the order, which depends on ids: number the commitments
    # by payload first, sort, then lay the rows out in the sorted order.
    keyed, row = [], 0
    for name, length in payloads:
        own = commitments[row : row + rows_for(length)]
        row += len(own)
        keyed.append((namespace.parse(name), payload_id(length, own), length, own))
    keyed.sort(key=lambda item: item[:2])
    entries, row = [], 0
    for ns, pid, length, own in keyed:
        entries.append(PayloadEntry(ns, pid, row, len(own), length))
        row += len(own)
    return PayloadList(tuple(entries)), np.concatenate([own for *_, own in keyed])


def build_batch(
    committee: Committee, payloads: Sequence[tuple[str, int]] = (("op", 300_000), ("arb", 5))
) -> Batch:
    """The first batch of the committee's first disperser."""
    payload_list, commitments = build_list(payloads)
    header = Header(
        chain_id=committee.chain_id,
        disperser_id=committee.dispersers[0].id,
        height=1,
        timestamp_ms=1_700_000_000_000,
        parent=ZERO_HASH,
        committee_hash=committee.hash,
        row_count=payload_list.row_count,
        payloads_root=payload_list.root,
        commitments_root=commitments_root(commitments),
    )
    return Batch(header, payload_list, commitments)


def build_certificate(party: Party, header: Header, signers: Sequence[int]) -> Certificate:
    """What these members' attestations add up to."""
    signatures = {i: Attestation.sign(party.secrets[i], header).signature for i in signers}
    return Certificate.gather(header, party.committee, signatures)


@pytest.fixture(scope="session")
def party() -> Party:
    """Six members of equal stake."""
    return build_party([100] * 6)


@pytest.fixture(scope="session")
def batch(party: Party) -> Batch:
    """The party's first batch: two payloads, four rows."""
    return build_batch(party.committee)


@pytest.fixture(scope="session")
def make_party() -> Callable[..., Party]:
    """build_party."""
    return build_party


@pytest.fixture(scope="session")
def make_committee() -> Callable[..., Committee]:
    """build_committee."""
    return build_committee


@pytest.fixture(scope="session")
def make_list() -> Callable[..., Any]:
    """build_list."""
    return build_list


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., Batch]:
    """build_batch."""
    return build_batch


@pytest.fixture(scope="session")
def make_certificate() -> Callable[..., Certificate]:
    """build_certificate."""
    return build_certificate
