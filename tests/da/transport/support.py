"""A member whose every route is one handler, and the transport that reaches it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from da import bls
from da.protocol.committee import Member
from da.transport.http import HttpTransport

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
