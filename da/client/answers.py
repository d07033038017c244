"""Reading a node's answers: bytes of an HTTP response in, checked values out.

Invariants: anything that no node of this version sends is an InvalidDocument, which da/client/exchange.py
turns into an InvalidAnswer.
"""

from __future__ import annotations

from typing import Any

import httpx

from da.client.errors import BY_STATUS, ClientError, Conflict, Gone, InvalidAnswer, Refused
from da.protocol.errors import InvalidProposal
from da.protocol.evidence import PayloadEvidence
from da.protocol.fields import parse_object
from da.wire import batches, errors, evidence, payloads
from da.wire.batches import BatchDocument, LiveBatch
from da.wire.errors import InvalidDocument
from da.wire.payloads import PayloadInfo

OBJECT_BYTES_MAX = 2**20  # a node's description, proofs and openings


def settled(info: PayloadInfo) -> PayloadInfo:
    """The status if it is "certified". Raises Gone (expired) or Conflict (failed)."""
    if info.status == "certified":
        return info
    kind = Gone if info.status == "expired" else Conflict
    status = 410 if info.status == "expired" else 409
    name = "Expired" if info.status == "expired" else "PayloadFailed"
    raise kind(status, name, f"payload 0x{info.payload_id.hex()} {info.status}: {info.reason}", {})


def refusal(answer: httpx.Response) -> ClientError:
    """The error that an answer of 4xx or 5xx is."""
    try:
        body = errors.decode(answer.content)
    except InvalidDocument as error:
        return InvalidAnswer(f"{answer.url}: status {answer.status_code} without a typed error ({error})")
    return BY_STATUS.get(answer.status_code, Refused)(
        answer.status_code, body.error, body.message, body.fields
    )


def read_object(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer."""
    return parse_object(answer.content, OBJECT_BYTES_MAX, InvalidDocument).rest()


def read_bytes(answer: httpx.Response) -> bytes:
    """The bytes of an answer."""
    return answer.content


def read_info(answer: httpx.Response) -> PayloadInfo:
    """A payload's status."""
    return payloads.decode_bytes(answer.content)


def read_evidence(answer: httpx.Response) -> PayloadEvidence:
    """The proof of a payload, nothing verified."""
    return evidence.decode_bytes(answer.content)


def read_batch(answer: httpx.Response) -> BatchDocument:
    """A batch, its parts checked against its header."""
    return _consistent(batches.decode_bytes(answer.content))


def read_page(answer: httpx.Response, from_height: int, limit: int) -> list[BatchDocument]:
    """Batches of one log, each checked against its header."""
    page = batches.decode_page(answer.content, from_height=from_height, limit=limit)
    return [_consistent(batch) for batch in page.batches]


def _consistent(batch: BatchDocument) -> BatchDocument:
    if isinstance(batch, LiveBatch):
        try:
            batch.proposal.verify_contents()
        except InvalidProposal as error:
            raise InvalidDocument("batch", f"does not fit its header: {error}") from None
    return batch
