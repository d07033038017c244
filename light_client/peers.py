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
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self
from urllib.parse import quote

import aiohttp
import httpx

from da import outgoing
from da.pool import pooled
from da.protocol.committee import Committee, Member
from da.protocol.committee_chain import Link
from da.wire import batch_bytes, contributions, errors, payloads
from da.wire import cells as wire_cells
from da.wire import committees as wire_committees
from da.wire import folds as wire_folds
from da.wire.batches import BATCH_BYTES_MAX, BatchDocument, decode_bytes, decode_page, page_bytes_max
from da.wire.cells import Corrupt, NotHeld, Record, answer_bytes_max, decode_answer, encode_query
from da.wire.contributions import Contribution
from da.wire.errors import InvalidDocument
from light_client.errors import (
    PeerExpired,
    PeerMisbehaved,
    PeerUnknown,
    PeerUnreachable,
)
from sampling import Answer, Coordinates

TransportFactory = Callable[[Member], httpx.AsyncBaseTransport]
SampleAnswer = bytes | Answer
"""A record (cell, then proof), not verified; or NOT_HELD or CORRUPT."""

_RETRY_AFTER_MAX_S = 3600.0
OCTETS = "application/octet-stream"
_CONNECTIONS_PER_MEMBER = 2
_USER_AGENT = "cellar-light-client"


class MemberClient:
    """One member.

    Args:
        index: its position in the committee.
        member: name and URL.
        transport: how to reach it; closed with the client.
    """

    def __init__(self, index: int, member: Member, transport: httpx.AsyncBaseTransport) -> None:
        self.index = index
        self.member = member
        self.bytes_received = 0
        self.requests_sent = 0
        self._http = outgoing.async_client(  # one time limit for the whole exchange, in _exchange
            transport, trust_env=False, timeout_s=None, user_agent=_USER_AGENT
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
        body = await self._exchange("GET", path, BATCH_BYTES_MAX, timeout_s, accept=OCTETS)
        # A batch that is not served any more, and a node of an earlier version, come as JSON: an object.
        in_json = body.lstrip()[:1] == b"{"
        try:
            return decode_bytes(body) if in_json else batch_bytes.decode(body)
        except InvalidDocument as error:
            raise PeerMisbehaved(self.name, f"its batch {reference}: {error}", body) from None

    async def batches(
        self, from_height: int, limit: int, disperser_id: bytes, timeout_s: float
    ) -> list[BatchDocument]:
        """Certified batches of a disperser from a height on, ascending, not verified; maybe none.

        Raises:
            PeerError: any of the four.
        """
        path = f"/v1/batches?from={from_height}&limit={limit}&disperser=0x{disperser_id.hex()}"
        body = await self._exchange("GET", path, page_bytes_max(limit), timeout_s)
        try:
            page = decode_page(body, from_height=from_height, limit=limit, disperser_id=disperser_id)
            return list(page.batches)
        except InvalidDocument as error:
            raise PeerMisbehaved(self.name, f"its batches from {from_height}: {error}", body) from None

    async def batch_of_payload(self, payload_id: bytes, timeout_s: float) -> bytes | None:
        """Header hash of the batch that carries the payload, as the member says; None: in no batch yet.

        Raises:
            PeerError: any of the four.
        """
        path = f"/v1/payloads/0x{payload_id.hex()}/status"
        body = await self._exchange("GET", path, payloads.PAYLOAD_BYTES_MAX, timeout_s)
        try:
            return payloads.decode_bytes(body).header_hash
        except InvalidDocument as error:
            raise PeerMisbehaved(self.name, f"its status of a payload: {error}", body) from None

    async def links(self, from_epoch: int, timeout_s: float) -> tuple[Link, ...]:
        """Handovers after the committee of an epoch, with the committees they lead to; not verified.

        Raises:
            PeerError: any of the four.
        """
        path = f"/v1/committees?from={from_epoch}"
        body = await self._exchange("GET", path, wire_committees.PAGE_BYTES_MAX, timeout_s)
        try:
            return wire_committees.decode_page(body, from_epoch=from_epoch).links
        except InvalidDocument as error:
            raise PeerMisbehaved(self.name, f"its links from epoch {from_epoch}: {error}", body) from None

    async def cells(
        self, header_hash: bytes, cells: Sequence[Coordinates], timeout_s: float
    ) -> list[SampleAnswer]:
        """What the member has of the cells, one answer for each, in order; records are not verified.

        Raises:
            PeerError: any of the four; PeerMisbehaved for an answer that is too long, too short, or has a
                status byte that does not exist.
        """
        path = f"/v1/batches/0x{header_hash.hex()}/cells"
        body = await self._exchange(
            "POST",
            path,
            answer_bytes_max(len(cells)),
            timeout_s,
            encode_query((cell.row, cell.column) for cell in cells),
        )
        try:
            answers = decode_answer(body, len(cells))
        except InvalidDocument as error:
            raise PeerMisbehaved(self.name, f"its answer for {len(cells)} cells: {error}", body) from None
        return [_sample_answer(answer) for answer in answers]

    async def folds(
        self, header_hash: bytes, seed: bytes, columns: Sequence[int], timeout_s: float
    ) -> list[SampleAnswer]:
        """The member's folds of columns, one answer for each, in order; they are not verified.

        Raises:
            PeerError: as `cells`.
        """
        path = f"/v1/batches/0x{header_hash.hex()}/folds"
        query = wire_folds.encode_query(seed, columns)
        body = await self._exchange("POST", path, answer_bytes_max(len(columns)), timeout_s, query)
        try:
            answers = decode_answer(body, len(columns))
        except InvalidDocument as error:
            raise PeerMisbehaved(self.name, f"its answer for {len(columns)} folds: {error}", body) from None
        return [_sample_answer(answer) for answer in answers]

    async def contribute(self, header_hash: bytes, contribution: Contribution, timeout_s: float) -> int:
        """How many equations of a contribution the member stored.

        Raises:
            PeerError: any of the four.
        """
        path = f"/v1/batches/0x{header_hash.hex()}/contributions"
        content = contributions.encode(contribution)
        body = await self._exchange("POST", path, contributions.ANSWER_BYTES_MAX, timeout_s, content, OCTETS)
        try:
            return contributions.decode_answer(body).taken
        except InvalidDocument as error:
            raise PeerMisbehaved(self.name, f"its answer to a contribution: {error}", body) from None

    async def close(self) -> None:
        """Close the member's connections."""
        await self._http.aclose()

    async def _exchange(
        self,
        method: str,
        path: str,
        bytes_max: int,
        timeout_s: float,
        content: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "*/*",
    ) -> bytes:
        """The body of a 200, at most `bytes_max` of it, or the error that the answer is."""
        headers = {"accept": accept} | ({} if content is None else {"content-type": content_type})
        self.requests_sent += 1
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._http.stream(
                    method, self.member.url + path, content=content, headers=headers
                ) as response,
            ):
                good = response.status_code == httpx.codes.OK
                limit = bytes_max if good else errors.ERROR_BYTES_MAX
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
    """A client for each member of a committee, opened when first used, closed together.

    Args:
        committee: the members, numbered by their place in it.
        transport: how to reach one.
        addresses: the committee whose names and URLs of these members are used; None for their own.
    """

    def __init__(
        self,
        committee: Committee,
        *,
        transport: TransportFactory | None = None,
        addresses: Committee | None = None,
    ) -> None:
        self.committee = committee
        self._addresses = addresses or committee
        self._transport = transport or aiohttp_transports()
        self._clients: dict[int, MemberClient] = {}
        self._others: dict[bytes, Members] = {}

    def under(self, committee: Committee, addresses: Committee) -> Members:
        """Clients for the members of another committee, counted and closed with these."""
        if committee.hash == self.committee.hash:
            return self
        if committee.hash not in self._others:
            self._others[committee.hash] = Members(committee, transport=self._transport, addresses=addresses)
        return self._others[committee.hash]

    def __getitem__(self, index: int) -> MemberClient:
        if index not in self._clients:
            member = self.committee.members[index]
            member = self._addresses.member(member.id) or member
            self._clients[index] = MemberClient(index, member, self._transport(member))
        return self._clients[index]

    @property
    def bytes_received(self) -> int:
        """Bytes of all answers' bodies so far."""
        own = sum(client.bytes_received for client in self._clients.values())
        return own + sum(others.bytes_received for others in self._others.values())

    @property
    def requests_sent(self) -> int:
        """Requests so far."""
        own = sum(client.requests_sent for client in self._clients.values())
        return own + sum(others.requests_sent for others in self._others.values())

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
        for others in self._others.values():
            await others.__aexit__(exc_type, exc, traceback)


def aiohttp_transports() -> TransportFactory:
    """Transports over real sockets: aiohttp under httpx, one TLS context for all members."""
    context = httpx.create_ssl_context()
    return lambda member: pooled(context, _CONNECTIONS_PER_MEMBER)


def _sample_answer(answer: wire_cells.CellAnswer) -> SampleAnswer:
    match answer:
        case Record(content):
            return content
        case NotHeld():
            return Answer.NOT_HELD
        case Corrupt():
            return Answer.CORRUPT


def _describe(error: Exception) -> str:
    """Why an exchange failed, in a few words."""
    cause = error.__cause__ or error
    if isinstance(cause, aiohttp.ClientConnectorError):
        return f"cannot connect: {cause.os_error.strerror or cause.os_error}"
    name = type(cause).__name__
    return f"{name}: {cause}" if str(cause) else name


def _error_name(body: bytes) -> str | None:
    """The class name in a typed error body, None for anything else."""
    try:
        return errors.decode(body).error
    except InvalidDocument:
        return None


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "")
    return min(float(text), _RETRY_AFTER_MAX_S) if text.isascii() and text.isdigit() else 0.0
