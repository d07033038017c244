"""PeerTransport over HTTP: the calls that members make to each other, on the routes of da/api.

    push             PUT  {url}/v1/batches/{header hash}/columns        body streamed, answer 160 bytes
    put_certificate  PUT  {url}/v1/batches/{header hash}/certificate
    get_batches      GET  {url}/v1/batches?from=&limit=&disperser=
    get_column       GET  {url}/v1/batches/{header hash}/columns/{column}
    get_records      POST {url}/v1/batches/{header hash}/cells
    contribute       POST {url}/v1/batches/{header hash}/contributions
    get_time         GET  {url}/v1/node

Invariants: every call ends within its timeout; of every answer no more is read than the route can give;
whatever comes back is one of the port's values or errors, also from a hostile peer. An answer changes
nothing for later calls (da/outgoing.py): no cookies, redirects or environment proxies, and no peer has more
than its share of the connections.

Does not: retry, verify cells, signatures or certificates.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import aiohttp
import httpx

from da import outgoing
from da.errors import DaError, PeerMisbehaved, PeerRejected, PeerUnreachable
from da.pool import pooled
from da.protocol.attestation import ATTESTATION_BYTES
from da.protocol.committee import Member
from da.protocol.fields import parse_object
from da.protocol.push import RECORD_BYTES
from da.store.errors import StoreError
from da.wire import contributions
from da.wire import errors as wire_errors
from da.wire.batches import Page, decode_page, page_bytes_max
from da.wire.cells import NOT_HELD, CellAnswer, answer_bytes_max, decode_answer, encode_query
from da.wire.contributions import Contribution, ContributionAnswer
from da.wire.errors import ERROR_BYTES_MAX, InvalidDocument

_OCTETS = {"content-type": "application/octet-stream"}
_INFO_BYTES_MAX = 2**20  # the heights of as many dispersers as a committee has members
_NOT_HELD_ERRORS = ("ColumnNotHeld", "NotFound", "Expired", "NotReconstructable")


class HttpTransport:
    """Keeps connections to all members, at most `connections_per_member` to each; one for a whole node."""

    def __init__(self, *, connections_per_member: int = 16) -> None:
        # Every call has a deadline of its own; httpx's per-read timeouts would only add a second opinion.
        self._client = outgoing.async_client(
            pooled(httpx.create_ssl_context(trust_env=False), connections_per_member),
            trust_env=False,
            timeout_s=None,
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
            member, "PUT", path, timeout_s, ERROR_BYTES_MAX, headers=_OCTETS, content=certificate
        )

    async def get_batches(
        self, member: Member, disperser_id: bytes, from_height: int, limit: int, timeout_s: float
    ) -> Page:
        """See PeerTransport."""
        path = f"/v1/batches?from={from_height}&limit={limit}&disperser=0x{disperser_id.hex()}"
        answer = await self._call(member, "GET", path, timeout_s, page_bytes_max(limit))
        read = partial(decode_page, from_height=from_height, limit=limit, disperser_id=disperser_id)
        try:
            return await asyncio.to_thread(read, answer)
        except InvalidDocument as error:
            raise PeerMisbehaved(member.name, f"invalid page of batches: {error}") from error

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
    ) -> list[CellAnswer]:
        """See PeerTransport."""
        path = f"/v1/batches/0x{header_hash.hex()}/cells"
        try:
            answer = await self._call(
                member,
                "POST",
                path,
                timeout_s,
                answer_bytes_max(len(pairs)),
                headers={"content-type": "application/json"},
                content=encode_query(pairs),
            )
        except PeerRejected as error:
            if error.error in _NOT_HELD_ERRORS:
                return [NOT_HELD] * len(pairs)
            raise
        try:
            return decode_answer(answer, len(pairs))
        except InvalidDocument as error:
            raise PeerMisbehaved(member.name, f"invalid answer about {len(pairs)} cells: {error}") from error

    async def contribute(
        self, member: Member, header_hash: bytes, contribution: Contribution, timeout_s: float
    ) -> ContributionAnswer:
        """See PeerTransport."""
        answer = await self._call(
            member,
            "POST",
            f"/v1/batches/0x{header_hash.hex()}/contributions",
            timeout_s,
            contributions.ANSWER_BYTES_MAX,
            headers=_OCTETS,
            content=contributions.encode(contribution),
        )
        try:
            return contributions.decode_answer(answer)
        except InvalidDocument as error:
            raise PeerMisbehaved(member.name, f"invalid answer to a contribution: {error}") from error

    async def get_time(self, member: Member, timeout_s: float) -> int:
        """See PeerTransport."""
        answer = await self._call(member, "GET", "/v1/node", timeout_s, _INFO_BYTES_MAX)
        try:
            return parse_object(answer, _INFO_BYTES_MAX, InvalidDocument).take("time_ms", _unix_ms)
        except InvalidDocument as error:
            raise PeerMisbehaved(member.name, f"invalid node info: {error}") from error

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
                body = await _read(member, response, limit_bytes if good else ERROR_BYTES_MAX)
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
    if status < 400:
        return PeerMisbehaved(member.name, f"status {status}, which is neither an answer nor an error")
    try:
        answer = wire_errors.decode(body)
    except InvalidDocument as error:
        return PeerMisbehaved(member.name, f"status {status} without a typed error: {error}")
    return PeerRejected(member.name, status, answer.error, answer.fields)


def _unix_ms(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("is not a Unix time in milliseconds")
    return value
