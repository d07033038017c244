from __future__ import annotations

import dataclasses
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.protocol import HEADER_BYTES, ZERO_HASH, DecodeError, Header, InvalidHeader, proposal_message

BASE: dict[str, Any] = {
    "chain_id": 7,
    "disperser_id": b"d" * 32,
    "height": 2,
    "timestamp_ms": 1,
    "parent": b"p" * 32,
    "committee_hash": b"c" * 32,
    "row_count": 5,
    "payloads_root": b"r" * 32,
    "commitments_root": b"k" * 32,
}

u64s = st.integers(0, 2**64 - 1)
hashes = st.binary(min_size=32, max_size=32)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    height = draw(st.one_of(st.just(1), st.integers(1, 2**64 - 1)))
    return Header(
        chain_id=draw(u64s),
        disperser_id=draw(hashes),
        height=height,
        timestamp_ms=draw(u64s),
        parent=ZERO_HASH if height == 1 else draw(hashes.filter(any)),
        committee_hash=draw(hashes),
        row_count=draw(st.integers(1, 256)),
        payloads_root=draw(hashes),
        commitments_root=draw(hashes),
    )


@given(headers())
def test_round_trip(header: Header):
    encoding = header.encode()
    assert len(encoding) == HEADER_BYTES
    assert Header.decode(encoding) == header
    assert Header.decode(memoryview(encoding)) == header


def test_hash_and_proposal_are_domain_separated():
    header = Header(**BASE)
    assert header.hash == sha256(b"cellar/header/v1" + header.encode()).digest()
    assert proposal_message(header) == sha256(b"cellar/propose/v1" + header.hash).digest()


@pytest.mark.parametrize("field", sorted(BASE))
def test_every_field_changes_the_hash(field: str):
    value = BASE[field]
    other = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
    assert Header(**{**BASE, field: other}).hash != Header(**BASE).hash


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 0),
        ("version", 2),
        ("chain_id", -1),
        ("chain_id", 2**64),
        ("height", 0),
        ("height", 2**64),
        ("timestamp_ms", 2**64),
        ("row_count", 0),
        ("row_count", 257),
        ("parent", ZERO_HASH),
        ("parent", b"p" * 31),
        ("disperser_id", b""),
        ("committee_hash", b"c" * 33),
        ("payloads_root", b"r" * 31),
        ("commitments_root", b"k" * 31),
    ],
)
def test_values_out_of_range_are_refused(field: str, value: Any):
    with pytest.raises(InvalidHeader) as caught:
        Header(**{**BASE, field: value})
    assert caught.value.field == field


def test_first_height_has_no_parent():
    first = Header(**{**BASE, "height": 1, "parent": ZERO_HASH})
    assert Header.decode(first.encode()) == first
    with pytest.raises(InvalidHeader, match="parent"):
        Header(**{**BASE, "height": 1})


@pytest.mark.parametrize("size", [0, 1, 187, 189, 1000])
def test_other_lengths_are_refused(size: int):
    encoding = Header(**BASE).encode()
    with pytest.raises((DecodeError, InvalidHeader)):
        Header.decode((encoding + bytes(1000))[:size])


def test_a_header_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Header(**BASE).height = 3  # type: ignore[misc]
