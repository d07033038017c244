"""Batch documents and pages: they come back, in every state; everything else is an InvalidDocument."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from da.protocol import strict_json
from da.wire import batches
from da.wire.batches import BATCH_BYTES_MAX, ExpiredBatch, LiveBatch, MissingBatch
from da.wire.errors import InvalidDocument
from erasure.constants import MAX_ROWS
from tests.da.protocol.conftest import build_batch, build_certificate, build_party
from tests.da.wire import hostile


def decoded(document: Any) -> batches.BatchDocument:
    return batches.decode_bytes(json.dumps(document).encode())


def paged(*documents: Any, **changes: Any) -> dict[str, Any]:
    return {"batches": list(documents), "next": None, **changes}


def decode_page(page: Any, disperser_id: bytes, from_height: int = 1) -> batches.Page:
    return batches.decode_page(
        json.dumps(page).encode(), from_height=from_height, limit=2, disperser_id=disperser_id
    )


def test_a_live_batch_comes_back(live: Any, batch: Any, signature: bytes, certificate: bytes) -> None:
    found = decoded(live)
    assert isinstance(found, LiveBatch)
    assert found.header == batch.header
    assert found.proposal.disperser_signature == signature
    assert found.payload_list == batch.payload_list
    assert (found.proposal.commitments == batch.commitments).all()
    assert found.certificate is not None
    assert found.certificate.encode() == certificate
    assert found.columns == (0, 5, 127)


def test_a_batch_without_a_certificate_is_one(live: Any) -> None:
    assert decoded({**live, "certificate": None}).certificate is None


@pytest.mark.parametrize(("state", "kind"), [("expired", ExpiredBatch), ("missing", MissingBatch)])
def test_a_batch_without_its_data_keeps_what_outlives_it(
    batch: Any, certificate: bytes, state: Any, kind: type
) -> None:
    """A member that lost a batch is honest: its answer is a document like any other."""
    document = batches.encode(state, batch.header, batch.payload_list, certificate=certificate)
    found = decoded(document)
    assert type(found) is kind
    assert (found.header, found.payload_list) == (batch.header, batch.payload_list)
    assert found.certificate is not None
    assert found.certificate.encode() == certificate
    assert (document["commitments"], document["columns"], document["disperser_signature"]) == ([], [], "0x")


@pytest.mark.parametrize("state", ["", "Live", "lost", "live\n"])
def test_there_is_no_other_state(live: Any, state: str) -> None:
    with pytest.raises(InvalidDocument, match="state"):
        decoded({**live, "state": state})


def test_the_hash_must_be_the_header_s(live: Any) -> None:
    with pytest.raises(InvalidDocument, match="header_hash"):
        decoded({**live, "header_hash": "0x" + "00" * 32})


def test_every_place_with_every_hostile_value(live: Any) -> None:
    """A document, or a typed error that names the field: nothing else, for all callers of the decoder."""
    refused: list[tuple[str, str]] = []
    for where, changed in hostile.changes(live):
        try:
            decoded(changed)
        except InvalidDocument as error:
            refused.append((where, error.field))
    assert len(refused) > 500
    assert all(field for _, field in refused)


@pytest.mark.parametrize("body", hostile.BODIES, ids=range(len(hostile.BODIES)))
def test_hostile_bodies_are_refused(body: bytes, batch: Any) -> None:
    with pytest.raises(InvalidDocument):
        batches.decode_bytes(body)
    with pytest.raises(InvalidDocument):
        batches.decode_page(body, from_height=1, limit=100, disperser_id=batch.header.disperser_id)


@settings(max_examples=200)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
)
def test_any_json_is_a_document_or_refused(value: Any) -> None:
    with pytest.raises(InvalidDocument):
        decoded(value)


def test_a_page_comes_back(live: Any, batch: Any) -> None:
    page = decode_page(paged(live, next=7), batch.header.disperser_id)
    assert [found.header for found in page.batches] == [batch.header]
    assert page.next_height == 7
    assert decode_page(paged(), batch.header.disperser_id).batches == ()


@pytest.mark.parametrize("following", [0, 1, -1, True, 2.0, "2", 2**64])
def test_a_page_continues_above_itself_or_ends(live: Any, batch: Any, following: Any) -> None:
    with pytest.raises(InvalidDocument, match="next"):
        decode_page(paged(live, next=following), batch.header.disperser_id)


def test_a_page_ascends_from_the_height_that_was_asked_for(live: Any, batch: Any) -> None:
    with pytest.raises(InvalidDocument, match="ascend"):
        decode_page(paged(live, live), batch.header.disperser_id)
    with pytest.raises(InvalidDocument, match="ascend"):
        decode_page(paged(live), batch.header.disperser_id, from_height=2)


def test_a_page_is_of_one_log_and_not_longer_than_asked(live: Any, batch: Any) -> None:
    with pytest.raises(InvalidDocument, match="another disperser"):
        decode_page(paged(live), bytes(32))
    with pytest.raises(InvalidDocument, match="at most 2"):
        decode_page(paged(live, live, live), batch.header.disperser_id)


def test_the_densest_batch_is_within_the_budget_of_values() -> None:
    party = build_party([1])
    batch = build_batch(party.committee, [("a", 1)])
    document = batches.encode(
        "live",
        batch.header,
        batch.payload_list,
        certificate=build_certificate(party, batch.header, [0]).encode(),
        disperser_signature=bytes(96),
        commitments=batch.commitments,
        columns=range(128),  # a disperser holds all of its own
    )
    body = json.dumps(document, separators=(",", ":")).encode()
    strict_json.loads(body, max_bytes=BATCH_BYTES_MAX, max_values=len(body) // strict_json.BYTES_PER_VALUE)


def test_the_longest_batch_is_within_the_bound() -> None:
    party = build_party([1] * 256)
    batch = build_batch(party.committee, [(f"a{i}", 1) for i in range(MAX_ROWS)])
    certificate = build_certificate(party, batch.header, range(256)).encode()
    document = batches.encode(
        "live",
        batch.header,
        batch.payload_list,
        certificate=certificate,
        disperser_signature=bytes(96),
        commitments=batch.commitments,
        columns=range(128),
    )
    size = len(json.dumps(document).encode())
    assert size < BATCH_BYTES_MAX < 2 * size, size
    assert isinstance(decoded(document), LiveBatch)
