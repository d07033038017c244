"""Chains of committees: each link is vouched for by the committee before it, and old ones end."""

from __future__ import annotations

import dataclasses
import json

import pytest

from da.protocol import committee_chain
from da.protocol.committee import Committee, Member
from da.protocol.committee_chain import CommitteeChain, Link
from da.protocol.errors import CommitteeEnded, InvalidCommittee, InvalidHandover, UnknownCommittee
from da.protocol.handover import Handover, HandoverTerms
from da.protocol.header import Header
from tests.da.protocol.conftest import Party, build_party

VALID_UNTIL_S = 1_900_000_000


def link(old: Party, following: Committee, signers: int = 3, valid_until_s: int = VALID_UNTIL_S) -> Link:
    terms = HandoverTerms.between(old.committee, following, valid_until_s=valid_until_s)
    signatures = {index: terms.sign(old.secrets[index]).signature for index in range(signers)}
    return Link(Handover.gather(terms, old.committee, signatures), following)


@pytest.fixture(scope="module")
def parties() -> list[Party]:
    """Three epochs: four members, five, three."""
    return [build_party([100] * count, epoch=epoch) for epoch, count in ((1, 4), (2, 5), (3, 3))]


@pytest.fixture(scope="module")
def chain(parties: list[Party]) -> CommitteeChain:
    one, two, three = parties
    started = CommitteeChain(one.committee).extended(link(one, two.committee))
    return started.extended(link(two, three.committee, signers=4))


def header_of(committee: Committee, timestamp_ms: int) -> Header:
    return Header(
        chain_id=7,
        disperser_id=committee.dispersers[0].id,
        height=1,
        timestamp_ms=timestamp_ms,
        parent=bytes(32),
        committee_hash=committee.hash,
        row_count=1,
        payloads_root=bytes(32),
        commitments_root=bytes(32),
    )


def test_a_chain_knows_its_committees(chain: CommitteeChain, parties: list[Party]) -> None:
    committees = [party.committee for party in parties]
    assert list(chain.committees) == committees
    assert chain.latest == committees[2]
    assert [chain.by_epoch(epoch) for epoch in (0, 1, 2, 3, 4)] == [None, *committees, None]
    assert [chain.by_hash(each.hash) for each in committees] == committees
    assert chain.by_hash(bytes(32)) is None
    assert chain.links_from(1, 9) == chain.links
    assert chain.links_from(2, 9) == chain.links[1:]
    assert chain.links_from(0, 1) == chain.links[:1]
    assert chain.links_from(3, 9) == ()
    assert len(chain.dispersers) == 1


def test_an_old_committee_vouches_up_to_its_last_second(chain: CommitteeChain) -> None:
    first, last = chain.committees[0], chain.committees[2]
    assert chain.committee_of(header_of(first, VALID_UNTIL_S * 1000)) is first
    with pytest.raises(CommitteeEnded):
        chain.committee_of(header_of(first, VALID_UNTIL_S * 1000 + 1))
    assert chain.committee_of(header_of(last, VALID_UNTIL_S * 1000 + 1)) is last
    with pytest.raises(UnknownCommittee):
        chain.committee_of(dataclasses.replace(header_of(last, 0), committee_hash=bytes(32)))


@pytest.mark.parametrize(
    ("position", "signers", "check"),
    [(0, 2, "stake"), (1, 3, "epoch")],
)
def test_a_wrong_link_is_refused(parties: list[Party], position: int, signers: int, check: str) -> None:
    """Too few signers; and a link of a later committee."""
    old, following = parties[position], parties[position + 1]
    with pytest.raises(InvalidHandover) as caught:
        CommitteeChain(parties[0].committee).extended(link(old, following.committee, signers))
    assert caught.value.check == check


def test_the_threshold_is_the_old_committees(parties: list[Party]) -> None:
    """Of a strict committee everybody must sign, whatever the next one asks for."""
    strict = build_party([100] * 4, threshold_numerator=1, threshold_denominator=1)
    following = parties[1].committee
    CommitteeChain(strict.committee).extended(link(strict, following, signers=4))
    with pytest.raises(InvalidHandover) as caught:
        CommitteeChain(strict.committee).extended(link(strict, following, signers=3))
    assert caught.value.check == "stake"


def test_new_keys_must_be_proven(parties: list[Party]) -> None:
    one, two, _ = parties
    member: Member = two.committee.members[-1]
    stolen = two.committee.members[0].proof_of_possession
    members = (*two.committee.members[:-1], dataclasses.replace(member, proof_of_possession=stolen))
    following = dataclasses.replace(two.committee, members=members)
    with pytest.raises(InvalidHandover) as caught:
        CommitteeChain(one.committee).extended(link(one, following))
    assert caught.value.check == "possession"


def test_the_length_is_bounded(parties: list[Party], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committee_chain, "MAX_LINKS", 1)
    one, two, three = parties
    chain = CommitteeChain(one.committee).extended(link(one, two.committee))
    with pytest.raises(InvalidHandover) as caught:
        chain.extended(link(two, three.committee, signers=4))
    assert caught.value.check == "length"


def test_the_file_is_verified_when_read(chain: CommitteeChain, parties: list[Party]) -> None:
    assert CommitteeChain.from_json(chain.to_json()) == chain
    alone = CommitteeChain(parties[0].committee)
    assert CommitteeChain.from_json(alone.to_json()) == alone
    document = json.loads(chain.to_json())
    document["links"].pop(0)
    with pytest.raises(InvalidHandover):
        CommitteeChain.from_json(json.dumps(document))


@pytest.mark.parametrize("handover", [None, "", "00", "0x0", "0x", "0xzz", "0x" + "00" * 5000])
def test_a_malformed_link_is_refused(chain: CommitteeChain, handover: object) -> None:
    document = json.loads(chain.to_json())
    document["links"][0]["handover"] = handover
    with pytest.raises(InvalidCommittee) as caught:
        CommitteeChain.from_json(json.dumps(document))
    assert caught.value.field == "links[0].handover"
