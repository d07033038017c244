"""PeerTransport over HTTP: the calls that members make to each other, on the routes of da/api.

    push             PUT  {url}/v1/batches/{header hash}/columns        body streamed, answer 160 bytes
    put_certificate  PUT  {url}/v1/batches/{header hash}/certificate
    get_batches      GET  {url}/v1/batches?from=&limit=&disperser=
    get_column       GET  {url}/v1/batches/{header hash}/columns/{column}
    get_records      POST {url}/v1/batches/{header hash}/cells
    get_time         GET  {url}/v1/node

Invariants: every call ends within its timeout; of every answer no more is read than the route can give;
whatever comes back is one of the port's values or errors, also from a peer that means harm. Redirects are not
followed and environment proxies not used: the committee says where members are.

Does not: retry, verify cells, signatures or certificates.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import numpy as np
from httpx_aiohttp import AiohttpTransport

from da.errors import DaError, PeerMisbehaved, PeerRejected, PeerUnreachable
from da.protocol.attestation import ATTESTATION_BYTES
from da.protocol.errors import ProtocolError
from da.protocol.header import Header
from da.protocol.payload_list import PayloadEntry, PayloadList
from da.protocol.push import RECORD_BYTES
from da.store.errors import StoreError
from da.transport import BatchPage, RemoteBatch
from kzg.constants import BYTES_PER_COMMITMENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType
    from typing import Self

    from da.protocol.committee import Member

_OCTETS = {"content-type": "application/octet-stream"}
_ERROR_BYTES_MAX = 64 * 1024
_INFO_BYTES_MAX = 2**20  # the heights of as many dispersers as a committee has members
_PAGE_BYTES_MAX = 16 * 2**20
_PRESENT, _NOT_HELD, _CORRUPT = 0, 1, 2
_NOT_HELD_ERRORS = ("ColumnNotHeld", "NotFound", "Expired", "NotReconstructable")


class HttpTransport:
    """Keeps connections to all members; one for a whole node."""

    def __init__(self, *, connections_max: int = 256) -> None:
        limits = httpx.Limits(max_connections=connections_max, keepalive_expiry=30.0)
        # Every call has a deadline of its own; httpx's per-read timeouts would only add a second opinion.
        self._client = httpx.AsyncClient(
            transport=AiohttpTransport(limits=limits, trust_env=False),
            trust_env=False,
            timeout=httpx.Timeout(None),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def push(
        self,
        member: Member,
        header_hash: bytes,
        prelude: bytes,
        columns: Callable[[], AsyncIterator[bytes]],
        size: int,
        timeout_s: float,
    ) -> bytes:
        """See PeerTransport. What `columns` raises is raised here."""
        failures: list[Exception] = []

        async def body() -> AsyncIterator[bytes]:
            # The HTTP client wraps what a body raises; the original says what is wrong with this node.
            try:
                yield prelude
                async for column in columns():
                    yield column
            except (DaError, StoreError) as error:
                failures.append(error)
                raise

        try:
            return await self._call(
                member,
                "PUT",
                f"/v1/batches/0x{header_hash.hex()}/columns",
                timeout_s,
                ATTESTATION_BYTES,
                headers=_OCTETS | {"content-length": str(size)},
                content=body(),
            )
        except (PeerUnreachable, PeerRejected):
            if failures:
                raise failures[0] from None
            raise

    async def put_certificate(
        self, member: Member, header_hash: bytes, certificate: bytes, timeout_s: float
    ) -> None:
        """See PeerTransport."""
        path = f"/v1/batches/0x{header_hash.hex()}/certificate"
        await self._call(
            member, "PUT", path, timeout_s, _ERROR_BYTES_MAX, headers=_OCTETS, content=certificate
        )

    async def get_batches(
        self, member: Member, disperser_id: bytes, from_height: int, limit: int, timeout_s: float
    ) -> BatchPage:
        """See PeerTransport."""
        path = f"/v1/batches?from={from_height}&limit={limit}&disperser=0x{disperser_id.hex()}"
        answer = await self._call(member, "GET", path, timeout_s, _PAGE_BYTES_MAX)
        try:
            return await asyncio.to_thread(decode_page, answer)
        except (ProtocolError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise PeerMisbehaved(member.name, f"a page of batches that cannot be read: {error!r}") from error

    async def get_column(
        self, member: Member, header_hash: bytes, column: int, rows: int, timeout_s: float
    ) -> bytes | None:
        """See PeerTransport."""
        path = f"/v1/batches/0x{header_hash.hex()}/columns/{column}"
        try:
            answer = await self._call(member, "GET", path, timeout_s, rows * RECORD_BYTES)
        except PeerRejected as error:
            if error.error in _NOT_HELD_ERRORS:
                return None
            raise
        if len(answer) != rows * RECORD_BYTES:
            raise PeerMisbehaved(member.name, f"a column of {len(answer)} bytes, not {rows * RECORD_BYTES}")
        return answer

    async def get_records(
        self, member: Member, header_hash: bytes, pairs: Sequence[tuple[int, int]], timeout_s: float
    ) -> list[bytes | None]:
        """See PeerTransport."""
        path = f"/v1/batches/0x{header_hash.hex()}/cells"
        try:
            answer = await self._call(
                member,
                "POST",
                path,
                timeout_s,
                len(pairs) * (1 + RECORD_BYTES),
                headers={"content-type": "application/json"},
                content=json.dumps({"cells": [list(pair) for pair in pairs]}).encode(),
            )
        except PeerRejected as error:
            if error.error in _NOT_HELD_ERRORS:
                return [None] * len(pairs)
            raise
        records = decode_records(answer, len(pairs))
        if records is None:
            raise PeerMisbehaved(member.name, f"an answer about {len(pairs)} cells that cannot be read")
        return records

    async def get_time(self, member: Member, timeout_s: float) -> int:
        """See PeerTransport."""
        answer = await self._call(member, "GET", "/v1/node", timeout_s, _INFO_BYTES_MAX)
        try:
            return _unix_ms(json.loads(answer)["time_ms"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise PeerMisbehaved(member.name, f"an answer that tells no time: {error!r}") from error

    async def _call(
        self, member: Member, method: str, path: str, timeout_s: float, limit_bytes: int, **request: Any
    ) -> bytes:
        """The body of a 2xx answer, at most limit_bytes.

        Raises PeerUnreachable, PeerRejected, PeerMisbehaved.
        """
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._client.stream(method, member.url + path, **request) as response,
            ):
                good = response.is_success
                body = await _read(member, response, limit_bytes if good else _ERROR_BYTES_MAX)
        except TimeoutError:
            raise PeerUnreachable(member.name, f"no answer within {timeout_s:.0f} s") from None
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            raise PeerUnreachable(member.name, f"{type(error).__name__}: {error}") from error
        if good:
            return body
        raise _rejection(member, response.status_code, body)


async def _read(member: Member, response: httpx.Response, limit_bytes: int) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > limit_bytes:
            raise PeerMisbehaved(member.name, f"more than {limit_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _rejection(member: Member, status: int, body: bytes) -> PeerRejected | PeerMisbehaved:
    try:
        answer = json.loads(body)
        return PeerRejected(member.name, status, str(answer["error"]), dict(answer))
    except (KeyError, TypeError, ValueError, RecursionError):
        return PeerMisbehaved(member.name, f"status {status} without a typed error")


def decode_records(answer: bytes, count: int) -> list[bytes | None] | None:
    """Records of a cells answer: for each a status byte, and 2096 bytes where it is 0; None if malformed."""
    records: list[bytes | None] = []
    offset = 0
    for _ in range(count):
        if offset >= len(answer):
            return None
        status = answer[offset]
        offset += 1
        if status in (_NOT_HELD, _CORRUPT):
            records.append(None)
            continue
        record = answer[offset : offset + RECORD_BYTES]
        if status != _PRESENT or len(record) != RECORD_BYTES:
            return None
        records.append(record)
        offset += RECORD_BYTES
    return records if offset == len(answer) else None


def decode_page(answer: bytes) -> BatchPage:
    """A page of the log. Raises ProtocolError, KeyError, TypeError or ValueError for anything else."""
    page = json.loads(answer)
    following = page["next"]
    if following is not None and not (isinstance(following, int) and 1 <= following < 2**64):
        raise ValueError("next is no height")
    live = [batch for batch in page["batches"] if batch["state"] == "live"]
    return BatchPage(tuple(_decode_batch(batch) for batch in live), following)


def _decode_batch(batch: dict[str, Any]) -> RemoteBatch:
    commitments = b"".join(_bytes(text) for text in batch["commitments"])
    entries = tuple(
        PayloadEntry(
            namespace=_bytes(entry["namespace"]),
            payload_id=_bytes(entry["payload_id"]),
            first_row=_integer(entry["first_row"]),
            row_count=_integer(entry["row_count"]),
            length=_integer(entry["length"]),
        )
        for entry in batch["payloads"]
    )
    certificate = batch["certificate"]
    return RemoteBatch(
        header=Header.decode(_bytes(batch["header_bytes"])),
        disperser_signature=_bytes(batch["disperser_signature"]),
        payload_list=PayloadList(entries),
        commitments=np.frombuffer(commitments, dtype=np.uint8).reshape(-1, BYTES_PER_COMMITMENT),
        certificate=None if certificate is None else _bytes(certificate),
    )


def _bytes(text: object) -> bytes:
    if not isinstance(text, str) or not text.startswith("0x"):
        raise ValueError("no 0x-hex")
    return bytes.fromhex(text[2:])


def _integer(value: object) -> int:
    if type(value) is not int:
        raise ValueError("no integer")
    return value


def _unix_ms(value: object) -> int:
    milliseconds = _integer(value)
    if not 0 <= milliseconds < 2**63:
        raise ValueError("no time")
    return milliseconds
