"""Batch documents: the good one parses and verifies, any other is a typed error."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.api.schemas import BatchBody
from da.protocol import strict_json
from da.store.base import BatchRecord
from light_client import MalformedBatch, UnverifiedBatch, parse_batch, verify_batch
from light_client.batch import parse_json, verify_header

from .conftest import World, build_world


def test_a_served_batch_verifies(world: World) -> None:
    (batch,) = world.chain(1)
    verified = verify_batch(parse_batch(batch.document()), world.committee)
    assert verified.header == batch.header
    assert verified.header_hash == batch.header.hash
    assert verified.payload_list == batch.payload_list
    assert (verified.commitments == batch.matrix.commitments).all()
    assert verified.finality.final
    assert verified.signed_header().certificate == batch.certificate


@pytest.mark.parametrize("state", ["live", "expired"])
def test_what_a_node_serves_is_understood(world: World, state: Literal["live", "expired"]) -> None:
    """The node's own wire model, not the fake members'."""
    (batch,) = world.chain(1)
    live = state == "live"
    record = BatchRecord(
        header=batch.header,
        disperser_signature=batch.disperser_signature if live else b"",
        payload_list=batch.payload_list,
        commitments=batch.matrix.commitments if live else batch.matrix.commitments[:0],
        columns=(1, 2) if live else (),
        certificate=batch.certificate,
        received_ms=0,
        state=state,
    )
    document = parse_batch(parse_json(BatchBody.of(record).model_dump_json().encode(), 2**20))
    assert verify_header(document, world.committee).final
    if live:
        assert verify_batch(document, world.committee).header == batch.header
    else:
        with pytest.raises(UnverifiedBatch, match="expired"):
            verify_batch(document, world.committee)


def test_the_densest_honest_batch_is_within_the_budget_of_values(world: World) -> None:
    (batch,) = world.chain(1)
    record = BatchRecord(
        header=batch.header,
        disperser_signature=batch.disperser_signature,
        payload_list=batch.payload_list,
        commitments=batch.matrix.commitments,
        columns=tuple(range(128)),  # a disperser holds all of its own
        certificate=batch.certificate,
        received_ms=0,
        state="live",
    )
    body = BatchBody.of(record).model_dump_json().encode()
    parse_batch(strict_json.loads(body, max_bytes=2**20, max_values=len(body) // strict_json.BYTES_PER_VALUE))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("header_bytes", None),
        ("header_bytes", "00"),
        ("header_bytes", "0x0g"),
        ("header_bytes", "0x00 11"),
        ("header_bytes", "0x" + "00" * 188),
        ("header_bytes", 17),
        ("disperser_signature", []),
        ("certificate", "0x"),
        ("certificate", {}),
        ("commitments", []),
        ("commitments", "0x00"),
        ("commitments", ["0x00"]),
        ("commitments", ["0x" + "00" * 48] * 257),
        ("payloads", []),
        ("payloads", [17]),
        ("payloads", [{}]),
        ("payloads", {"0": 1}),
    ],
)
def test_a_damaged_field_is_malformed(world: World, field: str, value: object) -> None:
    document: dict[str, Any] = world.make_batch().document()
    with pytest.raises(MalformedBatch):
        parse_batch(document | {field: value})


@pytest.mark.parametrize("value", [True, 1.0, "1", None, -1, 300, 2**70])
def test_a_damaged_number_of_an_entry_is_malformed(world: World, value: object) -> None:
    for field in ("first_row", "row_count", "length"):
        document = copy.deepcopy(world.make_batch().document())
        document["payloads"][0][field] = value
        with pytest.raises(MalformedBatch):
            parse_batch(document)


@pytest.mark.parametrize("body", [b"", b"\xff", b"{", b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}"])
def test_bytes_that_are_no_json_are_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBatch):
        parse_json(body, 2**20)


@given(document=st.recursive(st.none() | st.integers() | st.text() | st.booleans(), st.lists, max_leaves=5))
def test_any_value_that_is_no_object_is_malformed(document: object) -> None:
    with pytest.raises(MalformedBatch):
        parse_batch(document)


_DOCUMENTS: dict[str, dict[str, Any]] = {}


@given(data=st.data())
def test_a_document_with_any_field_replaced_is_a_value_or_a_typed_error(
    data: st.DataObject, matrix: Any
) -> None:
    if not _DOCUMENTS:
        _DOCUMENTS["good"] = build_world(matrix).make_batch().document()
    document = dict(_DOCUMENTS["good"])
    field = data.draw(st.sampled_from(sorted(document)))
    values = st.none() | st.integers() | st.text() | st.lists(st.text(max_size=8), max_size=3)
    hexed = st.binary(max_size=400).map(lambda raw: "0x" + raw.hex())
    document[field] = data.draw(values | hexed | st.lists(st.dictionaries(st.text(), values), max_size=2))
    with contextlib.suppress(MalformedBatch):
        parse_batch(json.loads(json.dumps(document)))


def test_each_check_is_named(world: World) -> None:
    good = world.make_batch()
    other = world.make_batch(timestamp_ms=1)
    plain = next(member for member in world.committee.members if not member.disperser)
    stranger = build_world(world.matrix, replication=3)
    documents = {
        "certificate": good.document() | {"certificate": None},
        "header": good.document() | {"certificate": other.document()["certificate"]},
        "proposal": good.document() | {"disperser_signature": other.document()["disperser_signature"]},
        "contents": good.document() | {"commitments": good.document()["commitments"][::-1]},
        "expired": good.document() | {"state": "expired", "disperser_signature": "0x", "commitments": []},
        "stake": world.make_batch(signers=(1, 2, 3)).document(),
        "committee": stranger.make_batch().document(),
        "chain": world.make_batch(chain_id=1).document(),
        "disperser": world.make_batch(disperser_id=plain.id).document(),
    }
    for check, document in documents.items():
        with pytest.raises(UnverifiedBatch) as caught:
            verify_batch(parse_batch(document), world.committee)
        assert caught.value.check == check
