"""Every door that takes a body: what it holds is what came, and one sender leaves room for the next.

One table walks all doors (DOORS; a test compares it with the routes), each with bodies that are announced
long and dripped, chunked without end, and cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from da.errors import InvalidPushSignature
from da.protocol.push import RECORD_BYTES, encode_prelude
from da.wire import contributions
from da.wire.contributions import Folds
from da.wire.folds import encode_query
from tests.da.api.conftest import FakeNode, Running

pytestmark = pytest.mark.anyio

GREEDY, VICTIM = "127.0.0.9", "127.0.0.1"
TOKENS = {"greedy": "cellar_greedy", "victim": "cellar_victim"}
CAPACITY = 64 * 1024
PIECE = 1024
REPLAYED = bytes(96)


@dataclass(frozen=True)
class Door:
    """A route that takes a body: how to ask, a good small body, and where what it holds is counted."""

    name: str
    method: str
    path: Callable[[FakeNode], str]
    body: Callable[[FakeNode], bytes]
    used: Callable[[Running], int] | None  # None: at most a few KiB a request, read at once


def _push_path(node: FakeNode) -> str:
    return f"/v1/batches/0x{node.log[0].header.hash.hex()}/columns"


def _push_body(node: FakeNode, signature: bytes = b"\x01" * 96) -> bytes:
    record = node.log[0]
    prelude = encode_prelude(record.proposal, signature, (3,))
    return prelude + bytes(RECORD_BYTES)


DOORS = (
    Door(
        "payloads",
        "POST",
        lambda node: "/v1/payloads?namespace=a",
        lambda node: b"x" * 1000,
        lambda run: run.context.posts._room.used,
    ),
    Door("pushes", "PUT", _push_path, _push_body, lambda run: run.context.pushes._room.used),
    Door(
        "certificates",
        "PUT",
        lambda node: f"/v1/batches/0x{node.log[0].header.hash.hex()}/certificate",
        lambda node: b"certificate",
        None,
    ),
    Door(
        "contributions",
        "POST",
        lambda node: f"/v1/batches/0x{node.log[0].header.hash.hex()}/contributions",
        lambda node: contributions.encode(
            Folds(bytes(32), (3,), np.zeros((1, RECORD_BYTES), dtype=np.uint8))
        ),
        lambda run: run.context.contributions._room.used,
    ),
    Door(
        "cells",
        "POST",
        lambda node: f"/v1/batches/0x{node.log[0].header.hash.hex()}/cells",
        lambda node: b'{"cells": [[0, 0]]}',
        None,
    ),
    Door(
        "folds",
        "POST",
        lambda node: f"/v1/batches/0x{node.log[0].header.hash.hex()}/folds",
        lambda node: encode_query(bytes(32), [0]),
        None,
    ),
)
BOUNDED = [door for door in DOORS if door.used is not None]


@pytest.fixture
def serve(
    running: Callable[..., Any], node: FakeNode
) -> Callable[..., contextlib.AbstractAsyncContextManager[Running]]:
    """A server with small rooms."""

    @contextlib.asynccontextmanager
    async def start(**changes: Any) -> AsyncIterator[Running]:
        limits = {
            "payload_bytes_max": CAPACITY // 2,
            "post_inflight_bytes_max": CAPACITY,
            "contribution_inflight_bytes_max": CAPACITY,
            "read_inflight_bytes_max": CAPACITY,
            "read_inflight_bytes_per_address_max": CAPACITY,
            "post_wait_s": 0.3,
            "body_grace_s": 30.0,
            **changes,
        }
        node.push_room._capacity = CAPACITY
        async with running(**limits) as run:
            yield run

    return start


def head(door: Door, node: FakeNode, *lines: str) -> bytes:
    content_type = "application/json" if door.name in ("cells", "folds") else "application/octet-stream"
    return "\r\n".join(
        [
            f"{door.method} {door.path(node)} HTTP/1.1",
            "host: node",
            f"content-type: {content_type}",
            *lines,
            "",
            "",
        ]
    ).encode()


async def send_good(run: Running, door: Door, node: FakeNode) -> int:
    """Send a good body from the victim's address; its status."""
    body = door.body(node)
    reader, writer = await run.connect(head(door, node, f"content-length: {len(body)}") + body, VICTIM)
    status = int((await reader.readuntil(b"\r\n")).split()[1])
    writer.close()
    return status


async def drip(run: Running, door: Door, node: FakeNode, chunked: bool, size: int) -> tuple[int, Any]:
    """A connection that promises much and has sent `size` bytes of it."""
    promise = "transfer-encoding: chunked" if chunked else f"content-length: {CAPACITY // 2}"
    _reader, writer = await run.connect(head(door, node, promise), GREEDY)
    # Pushes must begin with a whole head; the rest is never complete.
    begin = _push_body(node, REPLAYED)[:400] if door.name == "pushes" else b""
    content = begin + b"y" * size
    for start in range(0, len(content), PIECE):
        piece = content[start : start + PIECE]
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        await writer.drain()
    return len(content), writer


async def settled(read: Callable[[], int], wanted: int) -> int:
    """The value once it is the wanted one, or after a second."""
    for _ in range(100):
        if read() == wanted:
            break
        await asyncio.sleep(0.01)
    return read()


def test_every_route_with_a_body_is_a_door(node: FakeNode, make_settings: Callable[..., Any]) -> None:
    from da.api.app import create_app

    settings = make_settings()
    schema = create_app(node, settings.http, settings.tokens).openapi()["paths"]
    with_body = {
        (method.upper(), path)
        for path, methods in schema.items()
        for method, operation in methods.items()
        if "requestBody" in operation
    }
    assert len(with_body) == len(DOORS)


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
@pytest.mark.parametrize("door", BOUNDED, ids=lambda door: door.name)
async def test_a_body_holds_what_has_come_of_it(
    serve: Callable[..., Any], node: FakeNode, door: Door, chunked: bool
) -> None:
    assert door.used is not None
    async with serve() as run:
        sent, writer = await drip(run, door, node, chunked, 2000)
        assert await settled(lambda: door.used(run), sent) == sent, "not what was announced"
        writer.close()  # the sender is gone
        assert await settled(lambda: door.used(run), 0) == 0


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
async def test_bodies_that_never_end_leave_room_for_somebody_else(
    serve: Callable[..., Any], node: FakeNode, door: Door, chunked: bool
) -> None:
    """What held up a whole network: few connections of one sender that promise much and drip."""
    check_push = node.check_push

    async def only_authenticated(header: Any, disperser_signature: bytes, push_signature: bytes) -> None:
        if push_signature == REPLAYED:  # header and disperser's signature are public
            raise InvalidPushSignature
        await check_push(header, disperser_signature, push_signature)

    node.check_push = only_authenticated  # type: ignore[method-assign]
    async with serve() as run:
        writers = [(await drip(run, door, node, chunked, 500))[1] for _ in range(12)]
        async with asyncio.timeout(10):
            status = await send_good(run, door, node)
        assert status in (200, 202, 204)
        for writer in writers:
            writer.close()


async def test_one_token_cannot_keep_another_out_and_pays_for_what_it_sends(
    serve: Callable[..., Any], node: FakeNode
) -> None:
    door = DOORS[0]
    tokens = [
        {
            "name": name,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "namespaces": ["*"],
            "bytes_per_second": 1,
            "burst_bytes": CAPACITY,
        }
        for name, text in TOKENS.items()
    ]

    def ask(name: str, *lines: str) -> bytes:
        return head(door, node, f"authorization: Bearer {TOKENS[name]}", *lines)

    async with serve(tokens=tokens, open_posting=False) as run:
        _, greedy = await run.connect(ask("greedy", "transfer-encoding: chunked"), GREEDY)
        for _ in range(20):
            greedy.write(b"400\r\n" + b"y" * PIECE + b"\r\n")
            await greedy.drain()
        assert await settled(lambda: door.used(run), 20 * PIECE) == 20 * PIECE
        reader, _ = await run.connect(ask("victim", "content-length: 1000") + b"x" * 1000, VICTIM)
        assert (await reader.readuntil(b"\r\n")).split()[1] == b"202"
        greedy.close()
        assert await settled(lambda: door.used(run), 0) == 0
        # What came is paid for; of what is announced from here on, only the ten bytes that come are.
        grant = run.context.rights.grant(TOKENS["greedy"], bytes(32))
        assert grant.bucket is not None
        left = CAPACITY - 20 * PIECE
        assert int(grant.bucket.level) in range(left, left + 20)
        _, broken = await run.connect(ask("greedy", f"content-length: {CAPACITY // 2}") + b"x" * 10, GREEDY)
        assert await settled(lambda: door.used(run), 10) == 10
        broken.close()
        assert await settled(lambda: door.used(run), 0) == 0
        assert int(grant.bucket.level) in range(left - 10, left + 20)


async def test_a_chunked_body_is_refused_when_its_token_runs_out(
    serve: Callable[..., Any], node: FakeNode
) -> None:
    door = DOORS[0]
    token = {
        "name": "slow",
        "sha256": hashlib.sha256(b"cellar_slow").hexdigest(),
        "namespaces": ["*"],
        "bytes_per_second": 1,
        "burst_bytes": 3000,
    }
    async with serve(tokens=[token], open_posting=False) as run:
        lines = ("authorization: Bearer cellar_slow", "transfer-encoding: chunked")
        reader, writer = await run.connect(head(door, node, *lines), GREEDY)
        for _ in range(4):
            writer.write(b"400\r\n" + b"y" * PIECE + b"\r\n")
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.split()[1] in (b"413", b"429")
        body = json.loads(await reader.readuntil(b"}"))
        assert body["error"] in ("BurstTooSmall", "RateExceeded")
        assert door.used is not None
        assert await settled(lambda: door.used(run), 0) == 0
