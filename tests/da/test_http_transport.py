"""The transport between members, against servers of all kinds; the real API is in test_devnet.py."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from da import bls, errors
from da.http_transport import HttpTransport, decode_page, decode_records
from da.protocol.committee import Member
from da.protocol.errors import ProtocolError
from da.store.errors import CorruptRecord

SECRET = bytes(31) + b"\5"
HASH = bytes(range(32))
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def member(port: int) -> Member:
    return Member(
        name="peer",
        url=f"http://127.0.0.1:{port}",
        public_key=bls.public_key(SECRET),
        proof_of_possession=bls.prove_possession(SECRET),
        stake=1,
    )


@asynccontextmanager
async def peer(handler: Handler) -> AsyncIterator[tuple[HttpTransport, Member]]:
    """A transport, and a member whose every route is `handler`."""
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with HttpTransport() as transport:
            yield transport, member(runner.addresses[0][1])
    finally:
        await runner.cleanup()


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


HOSTILE: list[tuple[str, bytes, int]] = [
    ("no JSON", b"<html>", 500),
    ("JSON without an error", b"{}", 404),
    ("a list", b"[]", 404),
    ("deep JSON", b"[" * 60_000, 404),
    ("too much", bytes(10**6), 200),
    ("too little", bytes(10), 200),
]


@pytest.mark.parametrize(
    ("body", "status"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE]
)
def test_hostile_answers_are_typed(body: bytes, status: int) -> None:
    async def main() -> None:
        async def handler(request: web.Request) -> web.Response:
            return web.Response(body=body, status=status)

        async with peer(handler) as (transport, target):
            with pytest.raises(errors.PeerMisbehaved):
                await transport.get_column(target, HASH, 0, 2, 10)
            with pytest.raises(errors.PeerMisbehaved):
                await transport.get_records(target, HASH, [(0, 0)], 10)
            with pytest.raises(errors.PeerMisbehaved):
                await transport.get_batches(target, HASH, 1, 10, 10)
            with pytest.raises(errors.PeerMisbehaved):
                await transport.get_time(target, 10)

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
            assert await transport.get_records(target, HASH, [(0, 3), (1, 3)], 10) == [None, None]

    asyncio.run(main())


def test_records_of_all_three_states() -> None:
    record = bytes(range(256)) * 8 + bytes(48)
    answer = b"\0" + record + b"\1" + b"\2" + b"\0" + record
    assert decode_records(answer, 4) == [record, None, None, record]
    for wrong in (answer[:-1], answer + b"\0", answer[:1], b"\3" + answer[1:], b""):
        assert decode_records(wrong, 4) is None


@given(st.binary(max_size=5000), st.integers(0, 4))
def test_records_decoding_is_total(answer: bytes, count: int) -> None:
    decoded = decode_records(answer, count)
    assert decoded is None or len(decoded) == count


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["0x", "0x00", "live"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["next", "batches", "state", "commitments", "payloads", "certificate", "header_bytes",
             "disperser_signature", "namespace", "payload_id", "first_row", "row_count", "length"]
        ),
        inner,
    ),
    max_leaves=20,
)  # fmt: skip


@given(json_values | st.fixed_dictionaries({"next": st.none(), "batches": json_values}))
def test_page_decoding_is_total(page: Any) -> None:
    try:
        decode_page(json.dumps(page).encode())
    except (ProtocolError, KeyError, TypeError, ValueError):
        return
