"""The stream on a real server: silence, hanging up, and a node that stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from da.store.base import BatchRecord
from tests.da.api.conftest import Running

pytestmark = pytest.mark.anyio

REQUEST = b"GET /v1/batches/stream?from=1 HTTP/1.1\r\nHost: node\r\n\r\n"


async def follow(run: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has asked for the stream."""
    reader, writer = await run.connect(REQUEST)
    await reader.readuntil(b": open\n\n")
    return reader, writer


@pytest.fixture
def closed(node: Any) -> asyncio.Event:
    """Set when a subscription to a log that ends nowhere is closed: after its batches it waits."""
    event = asyncio.Event()

    async def subscribe(from_height: int, disperser_id: bytes | None = None) -> AsyncIterator[BatchRecord]:
        try:
            for record in node.log:
                yield record
            await asyncio.Event().wait()
        finally:
            event.set()

    node.subscribe = subscribe
    return event


async def test_silence_is_broken_by_comments(closed: asyncio.Event, running: Callable[..., Any]) -> None:
    async with running(stream_ping_s=0.01) as run:
        reader, writer = await follow(run)
        text = await reader.readuntil(b": ping\n\n")
        assert text.count(b"event: batch") == 3
        await reader.readuntil(b": ping\n\n")
        writer.close()


async def test_a_client_that_hangs_up_is_let_go(closed: asyncio.Event, running: Callable[..., Any]) -> None:
    async with running(stream_ping_s=0.01, stream_clients_max=1) as run:
        reader, writer = await follow(run)
        await reader.readuntil(b": ping\n\n")
        assert run.context.stream_clients == 1
        writer.close()
        await closed.wait()
        while run.context.stream_clients:  # noqa: ASYNC110 - the server's own task ends it, a moment later
            await asyncio.sleep(0)
        _, second = await follow(run)
        second.close()


async def test_a_node_that_stops_ends_its_streams_at_once(
    closed: asyncio.Event, running: Callable[..., Any]
) -> None:
    """Without the word, the server would wait for the stream until the grace time is over."""
    async with running() as run:
        reader, writer = await follow(run)
        await reader.readuntil(b"event: batch")
        run.server.should_exit = True
        rest = await reader.read()
        assert rest.endswith(b"0\r\n\r\n"), "ended as a whole answer, not cut off"
        writer.close()
    assert closed.is_set()


async def test_the_limit_holds_for_clients_that_come_at_once(
    closed: asyncio.Event, running: Callable[..., Any], node: Any
) -> None:
    """All of them are looked at before the first stream has begun."""
    asked, everybody = 0, asyncio.Event()

    async def batches(from_height: int, limit: int, disperser_id: bytes | None = None) -> list[BatchRecord]:
        nonlocal asked
        asked += 1
        if asked == 8:
            everybody.set()
        await everybody.wait()
        return []

    node.batches = batches
    async with running(stream_clients_max=3) as run:
        answers = []
        for _ in range(8):
            answers.append(await run.connect(REQUEST))
        heads = [await reader.readuntil(b"\r\n") for reader, _ in answers]
        assert sorted(int(head.split()[1]) for head in heads) == [200] * 3 + [503] * 5
        for _, writer in answers:
            writer.close()


async def test_a_look_at_the_streams_headers_ends(closed: asyncio.Event, running: Callable[..., Any]) -> None:
    async with running(stream_clients_max=1) as run:
        head = REQUEST.replace(b"GET", b"HEAD")
        reader, writer = await run.connect(head + REQUEST.replace(b"/v1/batches/stream", b"/healthz"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"text/event-stream" in head
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 "), "the connection goes on"
        await closed.wait()
        writer.close()
