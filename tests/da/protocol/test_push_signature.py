"""A push shows who sends it, and to whom."""

from __future__ import annotations

import dataclasses
from hashlib import sha256
from typing import Any

from da.protocol import push_message, sign_header, sign_push, verify_push


def test_the_message_is_the_documented_hash(batch: Any) -> None:
    header = batch.header
    bound = header.chain_id.to_bytes(8, "big") + header.committee_hash + header.hash + b"r" * 32
    assert push_message(header, b"r" * 32) == sha256(b"cellar/push/v1" + bound).digest()


def test_it_holds_for_one_header_and_one_member(party: Any, batch: Any) -> None:
    committee, header = party.committee, batch.header
    index = committee.member_index(header.disperser_id)
    secret, disperser = party.secrets[index], committee.members[index]
    ours, other = (member.id for member in committee.members[:2])
    signature = sign_push(secret, header, ours)
    assert verify_push(disperser, header, ours, signature)
    assert not verify_push(disperser, header, other, signature), "another member cannot pass it on"
    assert not verify_push(disperser, dataclasses.replace(header, timestamp_ms=2), ours, signature)
    assert not verify_push(committee.members[(index + 1) % 6], header, ours, signature)
    assert not verify_push(disperser, header, ours, sign_header(secret, header)), (
        "what the log shows is not it"
    )
