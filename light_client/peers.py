"""The members as the light client asks them: one HTTP client and one connection pool for each.

The idea: everything a member sends is read with a limit in bytes and a limit in seconds, and comes out as a
value or as one of four errors that say what it means: unreachable, unknown (404), expired (410), misbehaved.

Invariants: at most the expected number of bytes is buffered; nothing is decompressed; redirects are not
followed; cookies are not kept; connections of different members are never shared, so that a member learns
only which cells it was asked for itself.

Does not: verify anything, choose whom to ask, nor wait between attempts (see sampling_run).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from da.protocol.codec import HASH_BYTES
from da.protocol.committee import Committee, Member
from da.protocol.push import RECORD_BYTES
from light_client.batch import BatchDocument, parse_batch, parse_hex, parse_json
from light_client.errors import (
    MalformedBatch,
    PeerExpired,
    PeerMisbehaved,
    PeerUnknown,
    PeerUnreachable,
)
from sampling import Answer, Coordinates

TransportFactory = Callable[[Member], httpx.AsyncBaseTransport]
CellAnswer = bytes | Answer
"""A record (cell, then proof), not verified; or NOT_HELD or CORRUPT."""

_HELD, _NOT_HELD, _CORRUPT = 0, 1, 2
_PRESENT_BYTES = 1 + RECORD_BYTES
_ERROR_BYTES_MAX = 16 * 1024
_STATUS_BYTES_MAX = 64 * 1024
_RETRY_AFTER_MAX_S = 3600.0
_CONNECTIONS_PER_MEMBER = 2
_HEADER_LINE_BYTES_MAX = 1024
_REASON_CHARS_MAX = 200
_USER_AGENT = "cellar-light-client"


class MemberClient:
    """One member.

    Args:
        index: its position in the committee.
        member: name and URL.
        transport: how to reach it; closed with the client.
        batch_bytes_max: bytes of one batch's JSON.
    """

    def __init__(
        self, index: int, member: Member, transport: httpx.AsyncBaseTransport, *, batch_bytes_max: int
    ) -> None:
        self.index = index
        self.member = member
        self.bytes_received = 0
        self.requests_sent = 0
        self._batch_bytes_max = batch_bytes_max
        self._http = httpx.AsyncClient(
            transport=transport,
            headers={"user-agent": _USER_AGENT, "accept-encoding": "identity"},
            timeout=None,  # noqa: S113 - one limit for the whole exchange, in _exchange
            trust_env=False,
        )

    @property
    def name(self) -> str:
        """The member's name in the committee file."""
        return self.member.name

    async def batch(self, reference: str, disperser_id: bytes | None, timeout_s: float) -> BatchDocument:
        """The batch at a height (with its disperser) or of an 0x header hash; not verified.

        Raises:
            PeerError: any of the four.
        """
        query = f"?disperser=0x{disperser_id.hex()}" if disperser_id is not None else ""
        path = f"/v1/batches/{quote(reference, safe='')}{query}"
        body = await self._exchange("GET", path, self._batch_bytes_max, timeout_s)
        try:
            return parse_batch(parse_json(body))
        except MalformedBatch as error:
            raise PeerMisbehaved(self.name, f"its batch {reference}: {error}", body) from None

    async def batches(
        self, from_height: int, limit: int, disperser_id: bytes, timeout_s: float
    ) -> list[BatchDocument]:
        """Certified batches of a disperser from a height on, ascending, not verified; maybe none.

        Raises:
            PeerError: any of the four.
        """
        path = f"/v1/batches?from={from_height}&limit={limit}&disperser=0x{disperser_id.hex()}"
        body = await self._exchange("GET", path, limit * self._batch_bytes_max, timeout_s)
        try:
            return _parse_page(body, from_height, limit, disperser_id)
        except MalformedBatch as error:
            raise PeerMisbehaved(self.name, f"its batches from {from_height}: {error}", body) from None

    async def batch_of_payload(self, payload_id: bytes, timeout_s: float) -> bytes | None:
        """Header hash of the batch that carries the payload, as the member says; None: in no batch yet.

        Raises:
            PeerError: any of the four.
        """
        path = f"/v1/payloads/0x{payload_id.hex()}/status"
        body = await self._exchange("GET", path, _STATUS_BYTES_MAX, timeout_s)
        try:
            return _parse_status(body)
        except MalformedBatch as error:
            raise PeerMisbehaved(self.name, f"its status of a payload: {error}", body) from None

    async def cells(
        self, header_hash: bytes, cells: Sequence[Coordinates], timeout_s: float
    ) -> list[CellAnswer]:
        """What the member has of the cells, one answer for each, in order; records are not verified.

        Raises:
            PeerError: any of the four; PeerMisbehaved for an answer that is too long, too short, or has a
                status byte that does not exist.
        """
        path = f"/v1/batches/0x{header_hash.hex()}/cells"
        query = {"cells": [[cell.row, cell.column] for cell in cells]}
        body = await self._exchange("POST", path, len(cells) * _PRESENT_BYTES, timeout_s, query)
        answers: list[CellAnswer] = []
        offset = 0
        for _ in cells:
            status = body[offset] if offset < len(body) else None
            if status == _HELD and offset + _PRESENT_BYTES <= len(body):
                answers.append(body[offset + 1 : offset + _PRESENT_BYTES])
                offset += _PRESENT_BYTES
            elif status in (_NOT_HELD, _CORRUPT):
                answers.append(Answer.NOT_HELD if status == _NOT_HELD else Answer.CORRUPT)
                offset += 1
            else:
                raise PeerMisbehaved(self.name, f"its answer for {len(cells)} cells breaks off", body)
        if offset != len(body):
            raise PeerMisbehaved(self.name, f"its answer has {len(body) - offset} bytes too many", body)
        return answers

    async def close(self) -> None:
        """Close the member's connections."""
        await self._http.aclose()

    async def _exchange(
        self, method: str, path: str, bytes_max: int, timeout_s: float, query: object = None
    ) -> bytes:
        """The body of a 200, at most `bytes_max` of it, or the error that the answer is."""
        content = None if query is None else json.dumps(query).encode()
        headers = {} if query is None else {"content-type": "application/json"}
        self.requests_sent += 1
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._http.stream(
                    method, self.member.url + path, content=content, headers=headers
                ) as response,
            ):
                good = response.status_code == httpx.codes.OK
                limit = bytes_max if good else _ERROR_BYTES_MAX
                body = await self._read(response, limit)
        except TimeoutError:
            raise PeerUnreachable(self.name, f"no answer within {timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError) as error:
            raise PeerUnreachable(self.name, _describe(error)) from None

        if not good:
            self._refuse(response, body[:limit])
        if len(body) > limit:
            raise PeerMisbehaved(self.name, f"its answer is longer than {limit} bytes", body[:limit])
        return body

    async def _read(self, response: httpx.Response, limit: int) -> bytes:
        """At most limit + 1 bytes: enough to know that there are too many."""
        chunks = bytearray()
        async for chunk in response.aiter_raw():
            self.bytes_received += len(chunk)
            chunks += chunk[: limit + 1 - len(chunks)]
            if len(chunks) > limit:
                break
        return bytes(chunks)

    def _refuse(self, response: httpx.Response, body: bytes) -> None:
        """Raises what a status other than 200 means. A 404 counts only from a member, not from a proxy."""
        error = _error_name(body)
        said = f"HTTP {response.status_code} {error or ''}".rstrip()
        if response.status_code == httpx.codes.GONE and error:
            raise PeerExpired(self.name, said)
        if response.status_code == httpx.codes.NOT_FOUND and error:
            raise PeerUnknown(self.name, said)
        raise PeerUnreachable(self.name, said, _retry_after(response))


class Members:
    """A client for each member of a committee, opened when first used, closed together."""

    def __init__(
        self, committee: Committee, *, batch_bytes_max: int, transport: TransportFactory | None = None
    ) -> None:
        self.committee = committee
        self._batch_bytes_max = batch_bytes_max
        self._transport = transport or aiohttp_transports()
        self._clients: dict[int, MemberClient] = {}

    def __getitem__(self, index: int) -> MemberClient:
        if index not in self._clients:
            member = self.committee.members[index]
            self._clients[index] = MemberClient(
                index, member, self._transport(member), batch_bytes_max=self._batch_bytes_max
            )
        return self._clients[index]

    @property
    def bytes_received(self) -> int:
        """Bytes of all answers' bodies so far."""
        return sum(client.bytes_received for client in self._clients.values())

    @property
    def requests_sent(self) -> int:
        """Requests so far."""
        return sum(client.requests_sent for client in self._clients.values())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for client in self._clients.values():
            await client.close()


def aiohttp_transports() -> TransportFactory:
    """Transports over real sockets: aiohttp under httpx, one TLS context for all members."""
    context = httpx.create_ssl_context()

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS_PER_MEMBER, ssl=context)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=_HEADER_LINE_BYTES_MAX,
            max_field_size=_HEADER_LINE_BYTES_MAX,
        )

    return lambda member: AiohttpTransport(verify=context, client=session)


def _parse_page(body: bytes, from_height: int, limit: int, disperser_id: bytes) -> list[BatchDocument]:
    document = parse_json(body)
    listed = document.get("batches") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > limit:
        raise MalformedBatch("batches", f"is not a list of at most {limit}")
    batches = [parse_batch(each) for each in listed]
    heights = [batch.header.height for batch in batches]
    if heights != sorted(set(heights)) or (heights and heights[0] < from_height):
        raise MalformedBatch("batches", "are not ascending from the height that was asked for")
    if any(batch.header.disperser_id != disperser_id for batch in batches):
        raise MalformedBatch("batches", "are of another disperser")
    return batches


def _parse_status(body: bytes) -> bytes | None:
    document: object = parse_json(body)
    if not isinstance(document, dict):
        raise MalformedBatch("document", "is not an object")
    if document.get("header_hash") is None:
        return None
    header_hash = parse_hex(document, "header_hash")
    if len(header_hash) != HASH_BYTES:
        raise MalformedBatch("header_hash", f"is not {HASH_BYTES} bytes")
    return header_hash


def _describe(error: Exception) -> str:
    """Why an exchange failed, in a few words."""
    cause = error.__cause__ or error
    if isinstance(cause, aiohttp.ClientConnectorError):
        return f"cannot connect: {cause.os_error.strerror or cause.os_error}"[:_REASON_CHARS_MAX]
    name = type(cause).__name__
    return (f"{name}: {cause}" if str(cause) else name)[:_REASON_CHARS_MAX]


def _error_name(body: bytes) -> str | None:
    """The class name in a typed error body, None for anything else."""
    try:
        document: Any = parse_json(body)
    except MalformedBatch:
        return None
    name = document.get("error") if isinstance(document, dict) else None
    return name[:64] if isinstance(name, str) else None


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "")
    return min(float(text), _RETRY_AFTER_MAX_S) if text.isascii() and text.isdigit() else 0.0
