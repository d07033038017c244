"""The members' HTTP side: every status has one meaning, and every answer a limit in bytes and time."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from light_client import PeerError, PeerExpired, PeerMisbehaved, PeerUnknown, PeerUnreachable
from light_client.peers import MemberClient, Members, aiohttp_transports
from sampling import Answer, Coordinates

from .conftest import RECORD_BYTES, World, make_committee, run

CELLS = (Coordinates(0, 1), Coordinates(3, 127))
HASH = b"\5" * 32


def _client(handler: Callable[[httpx.Request], httpx.Response], **options: Any) -> MemberClient:
    committee, _ = make_committee(["http://a.test/base"])
    return MemberClient(
        0,
        committee.members[0],
        httpx.MockTransport(handler),
        batch_bytes_max=options.get("batch_bytes_max", 4096),
    )


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
    assert request.content == b'{"cells": [[0, 1], [3, 127]]}'
    assert request.headers["accept-encoding"] == "identity"
    assert "cookie" not in request.headers
    assert _cells(lambda request: _answer(200, b"\2\1")) == [Answer.CORRUPT, Answer.NOT_HELD]


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (404, b'{"error": "NotFound"}', PeerUnknown),
        (404, b"not found", PeerUnreachable),
        (404, b'{"detail": "Not Found"}', PeerUnreachable),
        (410, b'{"error": "Expired"}', PeerExpired),
        (410, b"", PeerUnreachable),
        (200, b"\0", PeerMisbehaved),
        (200, b"\1\1\1", PeerMisbehaved),
        (201, b"\1\1", PeerUnreachable),
        (302, b"", PeerUnreachable),
        (400, b'{"error": "InvalidParameter"}', PeerUnreachable),
        (429, b"", PeerUnreachable),
        (500, b"x" * 100_000, PeerUnreachable),
        (503, b'{"error": "Overloaded"}', PeerUnreachable),
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
    client = _client(lambda request: _answer(200, b" " * 100_000), batch_bytes_max=1000)
    with pytest.raises(PeerMisbehaved, match="longer than 1000 bytes") as caught:
        run(client.batch("1", None, 5.0))
    assert len(caught.value.sent) == 1000


@pytest.mark.parametrize(
    "page",
    [
        b"[]",
        b"{}",
        b'{"batches": {}}',
        b'{"batches": [1]}',
        b'{"batches": [null, null, null]}',
    ],
)
def test_a_page_that_is_none_is_misbehaviour(page: bytes) -> None:
    client = _client(lambda request: _answer(200, page))
    with pytest.raises(PeerMisbehaved):
        run(client.batches(1, 2, HASH, 5.0))


def test_pages_are_ascending_from_the_height_and_of_the_right_log(world: World) -> None:
    batches = world.chain(3)

    def serving(*chosen: int) -> MemberClient:
        documents = [batches[index].document() for index in chosen]
        return _client(
            lambda request: _answer(200, json.dumps({"batches": documents}).encode()), batch_bytes_max=10_000
        )

    log = world.disperser.id
    assert len(run(serving(0, 1).batches(1, 2, log, 5.0))) == 2
    assert run(serving().batches(9, 2, log, 5.0)) == []
    for client, start, disperser in (
        (serving(1, 0), 1, log),
        (serving(0, 0), 1, log),
        (serving(0, 1), 2, log),
        (serving(0, 1, 2), 1, log),
        (serving(0), 1, HASH),
    ):
        with pytest.raises(PeerMisbehaved):
            run(client.batches(start, 2, disperser, 5.0))


@pytest.mark.parametrize("body", [b"[]", b'{"header_hash": 5}', b'{"header_hash": "0x00"}', b"x"])
def test_a_payload_status_that_is_none_is_misbehaviour(body: bytes) -> None:
    with pytest.raises(PeerMisbehaved):
        run(_client(lambda request: _answer(200, body)).batch_of_payload(HASH, 5.0))


def test_a_payload_status_names_its_batch_or_none() -> None:
    found = b'{"header_hash": "0x' + HASH.hex().encode() + b'"}'
    assert run(_client(lambda r: _answer(200, found)).batch_of_payload(HASH, 5.0)) == HASH
    queued = b'{"header_hash": null, "status": "queued"}'
    assert run(_client(lambda r: _answer(200, queued)).batch_of_payload(HASH, 5.0)) is None


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
        async with Members(committee, batch_bytes_max=1000, transport=aiohttp_transports()) as members:
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
        async with Members(committee, batch_bytes_max=1000) as members:
            await members[0].cells(HASH, CELLS, 5.0)

    with pytest.raises(PeerUnreachable):
        run(ask())
