from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from da.protocol import (
    Attestation,
    InvalidProposal,
    PayloadList,
    Proposal,
    VerifiedProposal,
    attestation_message,
    check_contents,
    check_proposer,
    commitments_root,
    proposal_message,
    sign_header,
)


def refused(header: Any, payload_list: Any, commitments: Any) -> str:
    with pytest.raises(InvalidProposal) as caught:
        check_contents(header, payload_list, commitments)
    return caught.value.check


def test_what_belongs_together_passes(batch: Any):
    check_contents(batch.header, batch.payload_list, batch.commitments)


def test_other_commitments_are_refused(batch: Any):
    changed = batch.commitments.copy()
    changed[1, 0] ^= 1
    assert refused(batch.header, batch.payload_list, changed) == "commitments_root"
    assert refused(batch.header, batch.payload_list, batch.commitments[:-1]) == "rows"
    assert refused(batch.header, batch.payload_list, batch.commitments[:, :47]) == "rows"
    assert refused(batch.header, batch.payload_list, batch.commitments.astype(np.int64)) == "rows"


def test_another_list_is_refused(batch: Any):
    changed = dataclasses.replace(batch.payload_list.entries[0], payload_id=bytes(32))
    other = PayloadList((changed, *batch.payload_list.entries[1:]))
    assert refused(batch.header, other, batch.commitments) == "payloads_root"
    shorter = PayloadList(batch.payload_list.entries[:1])
    assert refused(batch.header, shorter, batch.commitments) == "rows"


def test_a_disperser_cannot_bind_a_payload_id_to_other_rows(batch: Any):
    """All roots agree, but an id is is invalid its rows: nobody could trust ids if this passed."""
    commitments = batch.commitments.copy()
    commitments[-1, 0] ^= 1
    header = dataclasses.replace(batch.header, commitments_root=commitments_root(commitments))
    assert refused(header, batch.payload_list, commitments) == "payload_id"


def test_a_disperser_cannot_state_another_length(batch: Any):
    longer = dataclasses.replace(
        batch.payload_list.entries[0], length=batch.payload_list.entries[0].length + 1
    )
    payload_list = PayloadList((longer, *batch.payload_list.entries[1:]))
    header = dataclasses.replace(batch.header, payloads_root=payload_list.root)
    assert refused(header, payload_list, batch.commitments) == "payload_id"


def disperser_secret(party: Any) -> bytes:
    index = party.committee.member_index(party.committee.dispersers[0].id)
    return party.secrets[index]


def test_proposal_verifies(party: Any, batch: Any):
    signature = sign_header(disperser_secret(party), batch.header)
    assert check_proposer(party.committee, batch.header, signature) is party.committee.dispersers[0]


def test_proposal_of_another_header_is_refused(party: Any, batch: Any):
    signature = sign_header(disperser_secret(party), batch.header)
    other = dataclasses.replace(batch.header, timestamp_ms=1)
    with pytest.raises(InvalidProposal, match="is invalid"):
        check_proposer(party.committee, other, signature)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"chain_id": 8}, "chain id"),
        ({"committee_hash": b"x" * 32}, "another committee"),
        ({"disperser_id": b"x" * 32}, "not a disperser"),
    ],
)
def test_foreign_proposals_are_refused(party: Any, batch: Any, changes: dict[str, Any], reason: str):
    header = dataclasses.replace(batch.header, **changes)
    with pytest.raises(InvalidProposal, match=reason):
        check_proposer(party.committee, header, sign_header(disperser_secret(party), header))


def test_a_member_that_is_no_disperser_may_not_propose(party: Any, batch: Any):
    index = next(i for i, member in enumerate(party.committee.members) if not member.disperser)
    header = dataclasses.replace(batch.header, disperser_id=party.committee.members[index].id)
    with pytest.raises(InvalidProposal, match="not a disperser"):
        check_proposer(party.committee, header, sign_header(party.secrets[index], header))


def test_an_attestation_is_no_proposal(party: Any, batch: Any):
    secret = disperser_secret(party)
    with pytest.raises(InvalidProposal):
        check_proposer(party.committee, batch.header, Attestation.sign(secret, batch.header).signature)
    message = attestation_message(party.committee.chain_id, party.committee.hash, batch.header.hash)
    assert proposal_message(batch.header) != message


def test_a_proposal_becomes_a_verified_one_by_all_checks(party: Any, batch: Any):
    signature = sign_header(disperser_secret(party), batch.header)
    proposal = Proposal(batch.header, signature, batch.payload_list, batch.commitments)
    verified = proposal.verify(party.committee)
    assert isinstance(verified, VerifiedProposal)
    assert (verified.header, verified.disperser_signature) == (batch.header, signature)
    assert verified.payload_list is batch.payload_list
    assert verified.commitments is batch.commitments

    with pytest.raises(InvalidProposal, match="signature"):
        dataclasses.replace(proposal, disperser_signature=bytes(96)).verify(party.committee)
    changed = batch.commitments.copy()
    changed[0, 0] ^= 1
    with pytest.raises(InvalidProposal, match="commitments_root"):
        dataclasses.replace(proposal, commitments=changed).verify(party.committee)
