"""The transport between members, against servers of all kinds; the real API is in test_devnet.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from da import errors
from da.store.errors import CorruptRecord
from da.wire.cells import NOT_HELD
from tests.da.transport.support import HASH, peer


async def columns(count: int, size: int) -> AsyncIterator[bytes]:
    for i in range(count):
        yield bytes([i]) * size


def test_a_push_streams_its_body_with_its_length() -> None:
    async def main() -> None:
        seen: list[tuple[str, str, int, bytes]] = []

        async def handler(request: web.Request) -> web.Response:
            body = await request.read()
            length = request.content_length
            assert length is not None
            seen.append((request.method, request.path, length, body))
            return web.Response(body=bytes(160))

        async with peer(handler) as (transport, target):
            answer = await transport.push(target, HASH, b"prelude", lambda: columns(3, 100_000), 300_007, 10)
        assert answer == bytes(160)
        assert seen[0][:3] == ("PUT", f"/v1/batches/0x{HASH.hex()}/columns", 300_007)
        assert seen[0][3] == b"prelude" + b"".join(bytes([i]) * 100_000 for i in range(3))

    asyncio.run(main())


def test_what_a_body_raises_comes_out_as_it_was() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(1000)
        raise CorruptRecord(1, 2)

    async def main() -> None:
        async def handler(request: web.Request) -> web.Response:
            await request.read()
            return web.Response(body=bytes(160))

        async with peer(handler) as (transport, target):
            with pytest.raises(CorruptRecord):
                await transport.push(target, HASH, b"prelude", broken, 5000, 10)

    asyncio.run(main())


def test_a_typed_refusal_keeps_its_fields_even_before_the_body_is_read() -> None:
    async def main() -> None:
        async def handler(request: web.Request) -> web.Response:
            return web.json_response({"error": "HeightGap", "message": "no", "expected": 7}, status=409)

        async with peer(handler) as (transport, target):
            with pytest.raises(errors.PeerRejected) as rejected:
                await transport.push(target, HASH, b"prelude", lambda: columns(1, 1000), 1007, 10)
            assert (rejected.value.status, rejected.value.error) == (409, "HeightGap")
            assert rejected.value.answer["expected"] == 7

    asyncio.run(main())


def test_a_body_of_the_wrong_length_is_misbehaviour() -> None:
    """Documents and answers about cells are in tests/da/wire/test_callers.py."""

    async def main() -> None:
        for size in (10, 10**6):

            async def handler(request: web.Request, size: int = size) -> web.Response:
                return web.Response(body=bytes(size))

            async with peer(handler) as (transport, target):
                with pytest.raises(errors.PeerMisbehaved):
                    await transport.get_column(target, HASH, 0, 2, 10)

    asyncio.run(main())


@pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 399])
def test_a_redirect_is_never_an_answer(status: int) -> None:
    """Also when it reads like a typed error, of which some mean that the peer lacks a column."""

    async def main() -> None:
        async def handler(request: web.Request) -> web.Response:
            return web.json_response({"error": "NotFound", "message": "no"}, status=status)

        async with peer(handler) as (transport, target):
            with pytest.raises(errors.PeerMisbehaved):
                await transport.get_column(target, HASH, 0, 2, 10)

    asyncio.run(main())


@pytest.mark.parametrize("told", [0, 1_700_000_000_000, -1, 2**63, "1", 1.5, True, None])
def test_a_time_is_milliseconds_or_misbehaviour(told: Any) -> None:
    async def main() -> None:
        async def handler(request: web.Request) -> web.Response:
            assert request.path == "/v1/node"
            return web.json_response({"time_ms": told})

        async with peer(handler) as (transport, target):
            if type(told) is int and 0 <= told < 2**63:
                assert await transport.get_time(target, 10) == told
            else:
                with pytest.raises(errors.PeerMisbehaved):
                    await transport.get_time(target, 10)

    asyncio.run(main())


def test_the_time_is_heard_from_a_member_that_knows_many_logs() -> None:
    logs = {
        f"0x{i:064x}": {"name": "n" * 64, "height": 2**63, "certified_height": 2**63} for i in range(1024)
    }

    async def main() -> None:
        async def handler(request: web.Request) -> web.Response:
            return web.json_response({"time_ms": 1_700_000_000_000, "logs": logs})

        async with peer(handler) as (transport, target):
            assert await transport.get_time(target, 10) == 1_700_000_000_000

    asyncio.run(main())


def test_who_does_not_answer_is_unreachable() -> None:
    async def main() -> None:
        hang = asyncio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            if "columns" in request.path:
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            await hang.wait()
            return web.Response()

        async with peer(handler) as (transport, target):
            with pytest.raises(errors.PeerUnreachable):
                await transport.get_records(target, HASH, [(0, 0)], 0.05)
            with pytest.raises(errors.PeerUnreachable):
                await transport.get_column(target, HASH, 0, 1, 10)
            hang.set()
            nobody = replace(target, url="http://127.0.0.1:1")
            with pytest.raises(errors.PeerUnreachable):
                await transport.get_column(nobody, HASH, 0, 1, 10)
            with pytest.raises(errors.PeerUnreachable):
                await transport.push(nobody, HASH, b"", lambda: columns(3, 10), 30, 10)

    asyncio.run(main())


def test_redirects_are_not_followed() -> None:
    async def main() -> None:
        async def handler(request: web.Request) -> web.Response:
            raise web.HTTPFound("http://127.0.0.1:1/elsewhere")

        async with peer(handler) as (transport, target):
            with pytest.raises(errors.PeerMisbehaved):
                await transport.get_column(target, HASH, 0, 1, 10)

    asyncio.run(main())


def test_not_held_is_an_answer() -> None:
    async def main() -> None:
        async def handler(request: web.Request) -> web.Response:
            return web.json_response({"error": "ColumnNotHeld", "message": "no", "column": 3}, status=404)

        async with peer(handler) as (transport, target):
            assert await transport.get_column(target, HASH, 3, 1, 10) is None
            assert await transport.get_records(target, HASH, [(0, 3), (1, 3)], 10) == [NOT_HELD] * 2

    asyncio.run(main())
