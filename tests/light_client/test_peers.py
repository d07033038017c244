"""The members' HTTP side: every status has one meaning, and every answer a limit in bytes and time."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from da.protocol.push import RECORD_BYTES
from da.wire.batches import BATCH_BYTES_MAX
from da.wire.errors import encode_bytes
from light_client import PeerError, PeerExpired, PeerMisbehaved, PeerUnknown, PeerUnreachable
from light_client.peers import MemberClient, Members, aiohttp_transports
from sampling import Answer, Coordinates

from .conftest import World, make_committee, page_document, run, status_document

CELLS = (Coordinates(0, 1), Coordinates(3, 127))
HASH = b"\5" * 32


def _client(handler: Callable[[httpx.Request], httpx.Response]) -> MemberClient:
    committee, _ = make_committee(["http://a.test/base"])
    return MemberClient(0, committee.members[0], httpx.MockTransport(handler))


def _answer(status: int, content: bytes = b"", headers: Any = None) -> httpx.Response:
    """An answer that streams, as over a socket."""
    return httpx.Response(status, stream=httpx.ByteStream(content), headers=headers)


def _cells(handler: Callable[[httpx.Request], httpx.Response]) -> Any:
    return run(_client(handler).cells(HASH, CELLS, 5.0))


def test_cells_are_read_in_order() -> None:
    record = bytes(range(256)) * 8 + bytes(48)
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return _answer(200, b"\0" + record + b"\1")

    assert _cells(answer) == [record, Answer.NOT_HELD]
    (request,) = seen
    assert request.url == f"http://a.test/base/v1/batches/0x{HASH.hex()}/cells"
    assert request.content == b'{"cells":[[0,1],[3,127]]}'
    assert request.headers["accept-encoding"] == "identity"
    assert "cookie" not in request.headers
    assert _cells(lambda request: _answer(200, b"\2\1")) == [Answer.CORRUPT, Answer.NOT_HELD]


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (404, encode_bytes("NotFound", "because"), PeerUnknown),
        (404, b"not found", PeerUnreachable),
        (404, b'{"detail": "Not Found"}', PeerUnreachable),
        (410, encode_bytes("Expired", "because"), PeerExpired),
        (410, b"", PeerUnreachable),
        (200, b"\0", PeerMisbehaved),
        (200, b"\1\1\1", PeerMisbehaved),
        (201, b"\1\1", PeerUnreachable),
        (302, b"", PeerUnreachable),
        (400, encode_bytes("InvalidParameter", "because"), PeerUnreachable),
        (429, b"", PeerUnreachable),
        (500, b"x" * 100_000, PeerUnreachable),
        (503, encode_bytes("Overloaded", "because"), PeerUnreachable),
    ],
)
def test_each_status_has_one_meaning(status: int, content: bytes, expected: type[PeerError]) -> None:
    with pytest.raises(expected):
        _cells(lambda request: _answer(status, content, headers={"location": "http://b.test/"}))


def test_retry_after_is_read_and_bounded() -> None:
    for text, seconds in (("7", 7.0), ("999999", 3600.0), ("-1", 0.0), ("soon", 0.0), ("²", 0.0), ("", 0.0)):
        headers = [(b"retry-after", text.encode())]
        with pytest.raises(PeerUnreachable) as caught:
            _cells(lambda request, headers=headers: _answer(429, headers=headers))  # type: ignore[misc]
        assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("no"), httpx.ReadError(""), OSError("broken pipe"), httpx.InvalidURL("bad")]
)
def test_every_failure_to_connect_is_unreachable(error: Exception) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(PeerUnreachable):
        _cells(fail)


def test_a_compressed_answer_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(10_000_000))

    def answer(request: httpx.Request) -> httpx.Response:
        stream = httpx.ByteStream(bomb)
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=stream)

    with pytest.raises(PeerMisbehaved) as caught:
        _cells(answer)
    assert caught.value.sent == bomb[: 2 * (RECORD_BYTES + 1)]


def test_a_batch_longer_than_the_limit_is_misbehaviour_with_a_bounded_copy() -> None:
    client = _client(lambda request: _answer(200, b" " * 1_000_000))
    with pytest.raises(PeerMisbehaved, match=f"longer than {BATCH_BYTES_MAX} bytes") as caught:
        run(client.batch("1", None, 5.0))
    assert len(caught.value.sent) == BATCH_BYTES_MAX


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_page_is_what_the_member_has_in_every_state(world: World, count: int) -> None:
    first, second = world.chain(2)
    shown = [replace(first, state="missing"), second][:count]
    client = _client(lambda request: _answer(200, json.dumps(page_document(shown)).encode()))
    found = run(client.batches(1, 2, world.disperser.id, 5.0))
    assert [(each.header, each.state) for each in found] == [(each.header, each.state) for each in shown]


def test_a_page_is_of_the_log_that_was_asked_for(world: World) -> None:
    (batch,) = world.chain(1)
    client = _client(lambda request: _answer(200, json.dumps(page_document([batch])).encode()))
    for start, disperser in ((2, world.disperser.id), (1, HASH)):
        with pytest.raises(PeerMisbehaved):
            run(client.batches(start, 2, disperser, 5.0))


@pytest.mark.parametrize("header_hash", [HASH, None])
def test_a_payload_status_names_its_batch_or_none(header_hash: bytes | None) -> None:
    found = json.dumps(status_document(HASH, header_hash)).encode()
    assert run(_client(lambda request: _answer(200, found)).batch_of_payload(HASH, 5.0)) == header_hash


# --- real sockets ----------------------------------------------------------------------------------------


async def _against(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any], timeout_s: float
) -> Any:
    """Ask a raw TCP server that does anything for two cells, over the real transport."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client has had enough: that is what is tested
        finally:
            writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    committee, _ = make_committee([f"http://127.0.0.1:{port}"])
    try:
        async with Members(committee, transport=aiohttp_transports()) as members:
            return await members[0].cells(HASH, CELLS, timeout_s)
    finally:
        server.close()


def test_an_endless_answer_is_cut_at_the_limit() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + bytes(0x1000) + b"\r\n")
            await writer.drain()

    with pytest.raises(PeerMisbehaved, match="longer than"):
        run(_against(endless, 30.0))


def test_an_answer_that_never_ends_is_given_up() -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\1")
        await reader.read()

    with pytest.raises(PeerUnreachable, match=r"no answer within 0\.3 s"):
        run(_against(stall, 0.3))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n\1",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["closed", "no HTTP", "cut short", "huge header", "bad chunk"],
)
def test_a_broken_server_is_unreachable(answer: bytes) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    with pytest.raises(PeerUnreachable):
        run(_against(broken, 10.0))


def test_a_closed_port_is_unreachable() -> None:
    committee, _ = make_committee(["http://127.0.0.1:1"])

    async def ask() -> None:
        async with Members(committee) as members:
            await members[0].cells(HASH, CELLS, 5.0)

    with pytest.raises(PeerUnreachable):
        run(ask())
