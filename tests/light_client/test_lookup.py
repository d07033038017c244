"""References and dispersers: what names a batch, and what names none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.protocol.committee_chain import CommitteeChain
from light_client import InvalidReference, UnknownDisperser
from light_client.lookup import Reference, choose_dispersers, parse_reference

from .conftest import make_committee


@given(height=st.integers(1, 2**64 - 1), digest=st.binary(min_size=32, max_size=32))
def test_heights_hashes_and_latest_are_references(height: int, digest: bytes) -> None:
    assert parse_reference(str(height)) == Reference(height=height)
    assert parse_reference("0x" + digest.hex()) == Reference(hash=digest)
    assert parse_reference("latest") == Reference()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-1",
        str(2**64),
        "9" * 5000,
        "1.0",
        "٣",
        "0x",
        "0x12",
        "0x" + "g" * 64,
        "0x" + " a" * 32,
        "Latest",
    ],
)
def test_anything_else_is_not(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse_reference(text)


def test_dispersers_go_by_name_or_id() -> None:
    committee, _ = make_committee(["http://a.test", "http://b.test", "http://c.test"], dispersers=2)
    first, second = committee.dispersers
    assert choose_dispersers(CommitteeChain(committee), None) == (first.id, second.id)
    assert choose_dispersers(CommitteeChain(committee), second.name) == (second.id,)
    assert choose_dispersers(CommitteeChain(committee), "0x" + first.id.hex()) == (first.id,)
    plain = next(member for member in committee.members if not member.disperser)
    for unknown in (plain.name, "0x", ""):
        with pytest.raises(UnknownDisperser):
            choose_dispersers(CommitteeChain(committee), unknown)
