"""Reading a node's answers: JSON and bytes in, checked values out.

Invariants: anything that no node of this version sends is an InvalidAnswer, or one of the exceptions that
da/client/core.py turns into one (ValueError, KeyError, TypeError, IndexError).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from da.client.errors import BY_STATUS, ClientError, Conflict, Gone, InvalidAnswer, Refused
from da.protocol.contents import check_contents
from da.protocol.errors import ProtocolError
from da.protocol.header import Header
from da.protocol.payload_list import PayloadEntry, PayloadList
from da.protocol.push import RECORD_BYTES


@dataclass(frozen=True)
class PayloadInfo:
    """Where a payload is; `certificate` is there after a wait that ended with one."""

    payload_id: bytes
    namespace: bytes
    status: str
    length: int
    rows: int
    created: bool | None = None
    batch_height: int | None = None
    header_hash: bytes | None = None
    disperser_id: bytes | None = None
    reason: str | None = None
    certificate: bytes | None = None


@dataclass(frozen=True)
class Batch:
    """A batch of the log; header, payloads and commitments (48 bytes each) belong together."""

    header: Header
    disperser_signature: bytes
    certificate: bytes | None
    payloads: tuple[PayloadEntry, ...]
    commitments: tuple[bytes, ...]
    state: str


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
        body = answer.json()
        name, message = str(body.pop("error")), str(body.pop("message"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return InvalidAnswer(f"{answer.url}: status {answer.status_code} without an error in JSON")
    return BY_STATUS.get(answer.status_code, Refused)(answer.status_code, name, message, body)


def read_object(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer."""
    value = answer.json()
    if not isinstance(value, dict):
        raise TypeError("not a JSON object")
    return value


def read_bytes(answer: httpx.Response) -> bytes:
    """The bytes of an answer."""
    return answer.content


def read_info(answer: httpx.Response) -> PayloadInfo:
    """A payload's status out of the API's JSON."""
    value = read_object(answer)

    def optional_bytes(name: str) -> bytes | None:
        return None if value.get(name) is None else _unhex(value[name])

    return PayloadInfo(
        payload_id=_unhex(value["payload_id"]),
        namespace=_unhex(value["namespace"]),
        status=str(value["status"]),
        length=int(value["length"]),
        rows=int(value["rows"]),
        created=value.get("created"),
        batch_height=value.get("batch_height"),
        header_hash=optional_bytes("header_hash"),
        disperser_id=optional_bytes("disperser_id"),
        reason=value.get("reason"),
        certificate=optional_bytes("certificate"),
    )


def to_batch(value: dict[str, Any]) -> Batch:
    """A batch out of the API's JSON, its parts checked against its header."""
    header = Header.decode(_unhex(value["header_bytes"]))
    if header.hash != _unhex(value["header_hash"]):
        raise InvalidAnswer("the header has another hash than the answer says")
    entries = tuple(
        PayloadEntry(
            namespace=_unhex(item["namespace"]),
            payload_id=_unhex(item["payload_id"]),
            first_row=item["first_row"],
            row_count=item["row_count"],
            length=item["length"],
        )
        for item in value["payloads"]
    )
    commitments = tuple(_unhex(item) for item in value["commitments"])
    if value["state"] == "live":
        joined = np.frombuffer(b"".join(commitments), dtype=np.uint8).reshape(len(commitments), -1)
        try:
            check_contents(header, PayloadList(entries), joined)
        except ProtocolError as error:
            raise InvalidAnswer(f"the batch does not fit its header: {error}") from None
    certificate = value["certificate"]
    return Batch(
        header=header,
        disperser_signature=_unhex(value["disperser_signature"]),
        certificate=None if certificate is None else _unhex(certificate),
        payloads=entries,
        commitments=commitments,
        state=value["state"],
    )


def split_cells(body: bytes, count: int) -> list[bytes | None]:
    """Records out of an answer to many cells: each a mark, and its record where the mark is 0."""
    found: list[bytes | None] = []
    offset = 0
    for _ in range(count):
        mark = body[offset]
        offset += 1
        if mark == 0:
            if len(body) < offset + RECORD_BYTES:
                raise ValueError("the answer ends within a cell")
            found.append(body[offset : offset + RECORD_BYTES])
            offset += RECORD_BYTES
        elif mark in (1, 2):
            found.append(None)
        else:
            raise ValueError(f"unknown mark {mark}")
    if offset != len(body):
        raise ValueError(f"{len(body) - offset} bytes are left over")
    return found


def _unhex(text: object) -> bytes:
    if not isinstance(text, str) or not text.startswith("0x"):
        raise ValueError("not 0x-hex")
    return bytes.fromhex(text[2:])
