"""The models on the OpenAPI page describe what da.wire encodes and reads."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from da.api.schemas import (
    BatchBody,
    BatchesBody,
    CellsQuery,
    ErrorBody,
    FoldsQuery,
    PayloadBody,
    Schema,
    batch_document,
)
from da.store.base import BatchRecord
from da.wire import batches, cells, errors, folds, payloads
from da.wire.payloads import PayloadInfo
from tests.da.protocol.conftest import build_batch, build_certificate, build_party
from tests.da.wire import hostile

HASH = bytes(range(32))
INFO = PayloadInfo(HASH, HASH, "queued", 3, 1)


@pytest.fixture(scope="module")
def record() -> BatchRecord:
    """A live batch of two payloads, certified."""
    party = build_party([1] * 4)
    batch = build_batch(party.committee, [("a", 1), ("b", 1)])
    certificate = build_certificate(party, batch.header, range(4)).encode()
    return BatchRecord(
        batch.header, bytes(96), batch.payload_list, batch.commitments, (0, 5), certificate, 0, "live"
    )


def in_state(record: BatchRecord, state: batches.State) -> BatchRecord:
    """The record as the store gives it in a state."""
    if state == "live":
        return record
    kept = {"disperser_signature": b"", "commitments": record.commitments[:0], "columns": ()}
    return replace(record, state=state, **kept)  # type: ignore[arg-type]


def agrees(model: type[Schema], document: dict[str, Any]) -> bool:
    """Whether the document has the model's fields at every level, and no others; raises for a wrong type."""
    return shape(model.model_validate(document).model_dump(mode="json")) == shape(document)


def shape(value: Any) -> Any:
    """The value with its strings left out: bytes are text in a document and bytes in a model."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return str if isinstance(value, str) else value


@pytest.mark.parametrize("state", ["live", "expired", "missing"])
@pytest.mark.parametrize("certified", [True, False])
def test_a_batch_in_every_state_is_the_model_s(
    record: BatchRecord, state: batches.State, certified: bool
) -> None:
    kept = in_state(record, state) if certified else replace(in_state(record, state), certificate=None)
    document = batch_document(kept)
    assert agrees(BatchBody, document)
    assert agrees(BatchesBody, batches.encode_page([document] * 2, 7))
    found = batches.decode_bytes(json.dumps(document).encode())
    assert found.state == state
    assert (found.header, found.payload_list) == (record.header, record.payload_list)


@pytest.mark.parametrize(
    "info",
    [
        INFO,
        replace(INFO, created=True, batch_height=1, header_hash=HASH, disperser_id=HASH),
        replace(INFO, status="failed", reason="no quorum", certificate=b"1"),
    ],
)
def test_a_payload_is_the_model_s(info: PayloadInfo) -> None:
    assert agrees(PayloadBody, payloads.encode(info))


def test_an_error_is_the_model_s() -> None:
    document = errors.encode("HeightGap", "send 7 first", {"expected": 7})
    assert ErrorBody.model_validate(document).model_dump() == document


def test_a_query_is_the_model_s() -> None:
    document = json.loads(cells.encode_query([(0, 1), (511, 127)]))
    assert agrees(CellsQuery, document)
    for _, changed in hostile.changes(document):
        try:
            cells.decode_query(json.dumps(changed).encode(), 8)
        except errors.InvalidDocument:
            continue
        assert agrees(CellsQuery, changed)


def test_a_query_for_folds_is_the_model_s() -> None:
    document = json.loads(folds.encode_query(bytes(32), [0, 127]))
    assert agrees(FoldsQuery, document)
    for _, changed in hostile.changes(document):
        try:
            folds.decode_query(json.dumps(changed).encode())
        except errors.InvalidDocument:
            continue
        assert agrees(FoldsQuery, changed)


@pytest.mark.parametrize("place", ["state", "payloads", "columns", "header"])
def test_a_document_that_differs_is_noticed(record: BatchRecord, place: str) -> None:
    document = batch_document(record)
    with pytest.raises(ValidationError):
        agrees(BatchBody, {**document, place: "other"})
    assert not agrees(BatchBody, {**document, "more": 1})
    assert not agrees(BatchBody, {**document, "header": {**document["header"], "more": 1}})
    with pytest.raises(ValidationError):
        agrees(BatchBody, {name: value for name, value in document.items() if name != place})
