"""The exchanges with a node, one function each: what to send and how to read what comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx

from da.client.answers import read_batch, read_bytes, read_evidence, read_info, read_object, read_page
from da.protocol.evidence import PayloadEvidence
from da.wire.batches import BatchDocument
from da.wire.cells import CellAnswer, decode_answer, encode_query
from da.wire.payloads import PayloadInfo

T = TypeVar("T")

POSTED = frozenset({200, 202})


@dataclass(frozen=True)
class Call(Generic[T]):
    """One exchange: what to send, and how to read the answer."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    params: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None
    media_type: str = "application/octet-stream"  # of the content
    hold_s: float = 0.0  # how long the node was asked to hold its answer
    statuses: frozenset[int] = frozenset({200})  # the only ones that carry the value


def post(namespace: str, payload: bytes, hold_s: float | None) -> Call[PayloadInfo]:
    params = {"namespace": namespace}
    if hold_s is not None:
        params |= {"wait": "certified", "timeout_s": f"{hold_s:.3f}"}
    return Call(
        "POST", "/v1/payloads", read_info, params, content=payload, hold_s=hold_s or 0.0, statuses=POSTED
    )


def status(payload_id: bytes, namespace: str | None) -> Call[PayloadInfo]:
    return Call("GET", f"{_of(payload_id)}/status", read_info, _optional(namespace=namespace))


def payload(payload_id: bytes) -> Call[bytes]:
    return Call("GET", _of(payload_id), read_bytes)


def rows(payload_id: bytes) -> Call[bytes]:
    return Call("GET", _of(payload_id), read_bytes, {"raw": "rows"})


def evidence(payload_id: bytes) -> Call[PayloadEvidence]:
    return Call("GET", f"{_of(payload_id)}/proof", read_evidence)


def certificate(payload_id: bytes, namespace: str | None) -> Call[bytes]:
    return Call("GET", f"{_of(payload_id)}/certificate", read_bytes, _optional(namespace=namespace))


def proof(payload_id: bytes, namespace: str | None) -> Call[dict[str, Any]]:
    return Call("GET", f"{_of(payload_id)}/proof", read_object, _optional(namespace=namespace))


def opening(payload_id: bytes, z: bytes | None, index: int | None, row: int) -> Call[dict[str, Any]]:
    params = _optional(z=None if z is None else "0x" + z.hex(), index=None if index is None else str(index))
    return Call("GET", f"{_of(payload_id)}/opening", read_object, {**params, "row": str(row)})


def batch(ref: int | bytes, disperser_id: bytes | None) -> Call[BatchDocument]:
    return Call("GET", f"/v1/batches/{_ref(ref)}", read_batch, _disperser(disperser_id))


def batches(from_height: int, limit: int, disperser_id: bytes | None) -> Call[list[BatchDocument]]:
    def read(answer: httpx.Response) -> list[BatchDocument]:
        return read_page(answer, from_height, limit)

    params = {"from": str(from_height), "limit": str(limit), **_disperser(disperser_id)}
    return Call("GET", "/v1/batches", read, params)


def cells(ref: int | bytes, pairs: Sequence[tuple[int, int]]) -> Call[list[CellAnswer]]:
    def read(answer: httpx.Response) -> list[CellAnswer]:
        return decode_answer(answer.content, len(pairs))

    return Call(
        "POST",
        f"/v1/batches/{_ref(ref)}/cells",
        read,
        content=encode_query(pairs),
        media_type="application/json",
    )


def node() -> Call[dict[str, Any]]:
    return Call("GET", "/v1/node", read_object)


def _of(payload_id: bytes) -> str:
    return f"/v1/payloads/0x{payload_id.hex()}"


def _ref(ref: int | bytes) -> str:
    return str(ref) if isinstance(ref, int) else "0x" + ref.hex()


def _optional(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _disperser(disperser_id: bytes | None) -> dict[str, str]:
    return _optional(disperser=None if disperser_id is None else "0x" + disperser_id.hex())
