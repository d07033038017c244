"""Bodies from slow, short, endless and many senders: bounded in time, size and memory.

A real server on loopback and plain sockets where the network matters; the pace's arithmetic and the
admission's queue by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvicorn

from da.api.app import create_app
from da.api.bodies import BodyPace
from da.api.http_protocol import protocol_class
from da.bootstrap import NodeServer
from da.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def serve(node, make_settings: Callable[..., Settings]) -> Callable[..., Any]:
    """A context manager: a real server around the fake node; gives its port."""

    @contextlib.asynccontextmanager
    async def serving(write_check_s: float = 10.0, **changes: Any) -> AsyncIterator[int]:
        settings = make_settings(**changes)
        node.config = settings.node
        config = uvicorn.Config(
            create_app(node, settings.http, settings.tokens),
            http=protocol_class(
                settings.http.head_timeout_s,
                settings.http.body_bytes_per_s_min,
                connections_per_address_max=settings.http.connections_per_address_max,
                write_check_s=write_check_s,
            ),
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        server = NodeServer(config, asyncio.Event())
        listener = socket.create_server(("127.0.0.1", 0))  # listens now, so nobody has to wait for the server
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task

    return serving


async def _exchange(port: int, *pieces: bytes, half_close: bool = False) -> tuple[int, dict[str, Any], bytes]:
    """Send pieces on one connection, then read the one answer: status, JSON, and what follows it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            rest = await reader.read() if b"connection: close" in head.lower() else b""
        return int(head.split()[1]), json.loads(body), rest
    finally:
        writer.close()


def _head(*lines: str) -> bytes:
    return (
        "\r\n".join(("POST /v1/payloads?namespace=a HTTP/1.1", "Host: node", *lines)) + "\r\n\r\n"
    ).encode()


async def test_a_body_in_pieces_is_taken(node, serve: Any) -> None:
    async with serve() as port:
        status, _, _ = await _exchange(port, _head("Content-Length: 6"), b"abc", b"def")
    assert status == 202
    assert node.posted[0][1] == b"abcdef"


async def test_a_sender_that_stops_is_cut_off(node, serve: Any) -> None:
    async with serve(body_grace_s=0.2) as port:
        status, body, _ = await _exchange(port, _head("Content-Length: 100"), b"abc")
    assert (status, body["error"], body["received_bytes"]) == (408, "BodyTooSlow", 3)
    assert node.posted == []


async def test_a_sender_below_the_rate_is_cut_off(node, serve: Any) -> None:
    """One byte every few milliseconds is activity, and still no pace."""
    async with serve(body_grace_s=0.2, body_bytes_per_s_min=100_000) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_head("Content-Length: 1000000"))
        answer = asyncio.ensure_future(reader.readuntil(b"}"))
        async with asyncio.timeout(20):
            while not answer.done():
                writer.write(b"x")
                await asyncio.wait({answer}, timeout=0.01)
        assert b" 408 " in answer.result().split(b"\r\n")[0]
        assert b"BodyTooSlow" in answer.result()
        writer.close()
    assert node.posted == []


async def test_a_sender_over_the_whole_time_is_cut_off(node, serve: Any) -> None:
    async with serve(body_timeout_s=0.2, body_grace_s=60.0) as port:
        status, body, _ = await _exchange(port, _head("Content-Length: 100"), b"abc")
    assert (status, body["error"]) == (408, "BodyTooSlow")


async def test_a_sender_that_hangs_up_leaves_nothing(node, serve: Any) -> None:
    async with serve() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_head("Content-Length: 100") + b"abc")
        writer.write_eof()
        async with asyncio.timeout(20):
            await reader.read()
        status, _, _ = await _exchange(port, _head("Content-Length: 2"), b"ok")
        assert status == 202, "the server goes on"
    assert [payload for _, payload in node.posted] == [b"ok"]


async def test_a_body_said_to_be_too_long_is_refused_at_once(node, serve: Any) -> None:
    async with serve(payload_bytes_max=10) as port:
        # 100-continue: a client that asks first is refused without sending anything.
        status, body, _ = await _exchange(port, _head("Content-Length: 99999999999", "Expect: 100-continue"))
    assert (status, body["error"]) == (413, "BodyTooLarge")


async def test_a_client_in_the_middle_of_sending_still_reads_the_refusal(node, serve: Any) -> None:
    """The rest of a refused body is read and dropped, and the connection stays usable."""
    async with serve(payload_bytes_max=10) as port:
        megabytes = [bytes(2**20)] * 4
        status, body, _ = await _exchange(port, _head(f"Content-Length: {4 * 2**20}"), *megabytes)
        assert (status, body["error"]) == (413, "BodyTooLarge")


async def test_a_chunked_body_that_never_ends_is_refused(node, serve: Any) -> None:
    async with serve(payload_bytes_max=10) as port:
        chunk = b"8\r\nabcdefgh\r\n"
        status, body, _ = await _exchange(port, _head("Transfer-Encoding: chunked"), chunk * 3 + b"0\r\n\r\n")
    assert (status, body["error"]) == (413, "BodyTooLarge")


@pytest.mark.parametrize("length", ["-1", "x", "1.0", "1" * 30])
async def test_a_length_that_is_none_is_refused(node, serve: Any, length: str) -> None:
    """By the server's parser or by ours, with 400 either way (a huge one may also be too large)."""
    async with serve() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_head(f"Content-Length: {length}", "Connection: close"))
        async with asyncio.timeout(20):
            answer = await reader.read()
        writer.close()
    assert answer.split()[1] in (b"400", b"413")


async def test_a_head_that_dribbles_is_cut_off(node, serve: Any) -> None:
    async with serve(head_timeout_s=0.2) as port:
        status, body, rest = await _exchange(port, b"GET /v1/node HTTP/1.1\r\nHost: ")
    assert (status, body["error"], rest) == (408, "HeadTooSlow", b"")


async def test_a_connection_that_says_nothing_is_cut_off(node, serve: Any) -> None:
    async with serve(head_timeout_s=0.2) as port:
        status, body, _ = await _exchange(port)
    assert (status, body["error"]) == (408, "HeadTooSlow")


@pytest.mark.parametrize(
    "start",
    [b"GET /v1/node HTTP/1.1\r\n", _head("Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n"],
    ids=["headers", "trailers"],
)
async def test_headers_without_end_are_cut_off(node, serve: Any, start: bytes) -> None:
    """With every timeout far away, the server must hang up by itself (a reset may swallow its answer)."""
    async with serve(head_timeout_s=1000.0, body_grace_s=1000.0, body_timeout_s=1000.0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(start)
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                while not writer.is_closing():
                    writer.write(b"X-A: b\r\n" * 1000)
                    await writer.drain()
            with contextlib.suppress(ConnectionError):
                answer = await reader.read()
                assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        writer.close()
    assert node.posted == []


async def test_a_body_in_the_smallest_chunks_is_taken(node, serve: Any) -> None:
    async with serve() as port:
        chunks = b"1\r\nx\r\n" * 50_000
        status, _, _ = await _exchange(port, _head("Transfer-Encoding: chunked"), chunks + b"0\r\n\r\n")
    assert status == 202
    assert node.posted[0][1] == b"x" * 50_000


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00", b"NONSENSE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
async def test_what_is_no_http_is_told_so_in_json(node, serve: Any, junk: bytes) -> None:
    async with serve() as port:
        status, body, _ = await _exchange(port, junk)
    assert (status, body["error"]) == (400, "InvalidHttp")


@pytest.mark.parametrize(
    "lines",
    [
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: chunked, gzip",),
        ("Transfer-Encoding: chunked", "Content-Length: 3"),
    ],
)
async def test_a_framing_that_nobody_knows_is_refused_in_json(
    node, serve: Any, lines: tuple[str, ...]
) -> None:
    async with serve() as port:
        status, body, rest = await _exchange(port, _head(*lines) + b"3\r\nabc\r\n0\r\n\r\n")
    assert (status, body["error"], rest) == (400, "InvalidHttp", b"")
    assert node.posted == []


async def test_a_body_that_breaks_its_framing_is_refused_in_json(node, serve: Any) -> None:
    async with serve() as port:
        pieces = _head("Transfer-Encoding: chunked"), b"3\r\nabc\r\n", b"zzz\r\n"
        status, body, rest = await _exchange(port, *pieces)
    assert (status, body["error"], rest) == (400, "InvalidHttp", b"")
    assert node.posted == []


async def test_nonsense_after_a_request_takes_no_answer_from_it(node, serve: Any) -> None:
    """The first request is being answered when the second turns out to be none."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def info() -> dict[str, object]:
        asked.set()
        await go_on.wait()
        return {}

    node.info = info
    async with serve() as port, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /v1/node HTTP/1.1\r\nHost: node\r\n\r\n")
        await asked.wait()
        writer.write(_head("Transfer-Encoding: xchunked"))
        assert await reader.read() == b"", "an answer here would be taken for that of the first"
        go_on.set()
        writer.close()


async def test_an_answer_that_nobody_reads_is_given_up(node, serve: Any) -> None:
    node.payloads[bytes(32)] = bytes(16 * 2**20)
    async with serve(write_check_s=0.1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /v1/payloads/0x" + b"00" * 32 + b" HTTP/1.1\r\nHost: node\r\n\r\n")
        async with asyncio.timeout(20):
            # The client reads nothing more until the server has hung up, which a second client observes.
            await reader.readexactly(10)
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            gauge = b"cellar_http_requests_in_progress 1.0"  # the request for the metrics itself
            while gauge not in await _get(port, "/metrics"):  # noqa: ASYNC110 - a server is observed from outside
                await asyncio.sleep(0.01)
        writer.close()


async def test_a_slow_but_steady_reader_gets_everything(node, serve: Any) -> None:
    node.payloads[bytes(32)] = bytes(4 * 2**20)
    async with serve(write_check_s=0.2, body_bytes_per_s_min=1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
        writer.write(b"GET /v1/payloads/0x" + b"00" * 32 + b" HTTP/1.1\r\nHost: node\r\n\r\n")
        async with asyncio.timeout(60):
            await reader.readuntil(b"\r\n\r\n")
            got = 0
            while got < 4 * 2**20:
                got += len(await reader.read(2**16))
                await asyncio.sleep(0.005)
        writer.close()


async def _get(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_kept_connection_serves_many_requests(node, serve: Any) -> None:
    """The head's timer of one request does not cut off the next."""
    async with serve(head_timeout_s=5.0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(20):
            for _ in range(3):
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                assert b" 200 " in head.split(b"\r\n")[0]
                await reader.readexactly(len(b'{"healthy":true}'))
        writer.close()


def test_the_pace_is_the_rate_after_the_grace_and_the_whole_time_at_most() -> None:
    pace = BodyPace(timeout_s=100.0, grace_s=5.0, min_bytes_per_s=1000)
    assert pace.deadline_s(0) == 5.0
    assert pace.deadline_s(10_000) == 15.0
    assert pace.deadline_s(10_000_000) == 100.0


async def test_a_truncated_body_is_an_error_of_its_own(node, make_settings: Callable[..., Settings]) -> None:
    """What a server tells the app when the sender is gone; the answer can reach nobody, the log can."""
    settings = make_settings()
    node.config = settings.node
    app = create_app(node, settings.http, settings.tokens)
    for declared, messages in (
        (b"100", [{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.disconnect"}]),
        (b"100", [{"type": "http.request", "body": b"abc", "more_body": False}]),
    ):
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/payloads",
            "raw_path": b"/v1/payloads",
            "query_string": b"namespace=a",
            "root_path": "",
            "headers": [(b"content-length", declared)],
            "server": ("node", 80),
            "client": ("test", 1),
        }
        sent: list[Any] = []

        async def receive(waiting: list[Any] = messages) -> Any:
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: Any, into: list[Any] = sent) -> None:
            into.append(message)

        await app(scope, receive, send)
        assert sent[0]["status"] == 400
        assert json.loads(sent[1]["body"])["error"] == "TruncatedBody"
        assert json.loads(sent[1]["body"])["received_bytes"] == 3
    assert node.posted == []
