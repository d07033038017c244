"""Every program that reads documents meets the same hostile ones, and gives its own typed error for each.

A caller refuses what the decoders of da.wire refuse and nothing else, but for checks of its own that come
after them; so what is tested of a decoder holds for all its callers.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from da.api.app import create_app
from da.client import AsyncCellarClient, CellarClient, InvalidAnswer, Refused
from da.devnet.adversary import Dishonest, Lies
from da.errors import PeerMisbehaved, PeerRejected
from da.protocol.errors import InvalidProposal
from da.protocol.push import RECORD_BYTES
from da.settings import Settings
from da.wire import batches, cells, errors, payloads
from da.wire.batches import LiveBatch
from da.wire.errors import InvalidDocument
from da.wire.payloads import PayloadInfo
from erasure.constants import BYTES_PER_CELL
from light_client import PeerMisbehaved as LightPeerMisbehaved
from light_client import PeerUnknown, PeerUnreachable
from light_client.peers import MemberClient
from sampling import Coordinates
from tests.da.api.conftest import FakeNode
from tests.da.transport.support import HASH, member, peer
from tests.da.wire import hostile

LIMIT = 100
PAIRS = [(0, 1), (1, 2)]
SAMPLE = 150


@dataclass
class Reply:
    """What the node answers next."""

    status: int = 200
    body: bytes = b""


# What one program asks, by the kind of document that answers it.
Questions = dict[str, Callable[[], Awaitable[Any]]]
Caller = Callable[[Reply, bytes], AbstractAsyncContextManager[Questions]]


def scripted(reply: Reply) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(reply.status, stream=httpx.ByteStream(reply.body))

    return httpx.MockTransport(answer)


@asynccontextmanager
async def http_transport(reply: Reply, disperser: bytes) -> AsyncIterator[Questions]:
    async def handler(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=reply.status, body=reply.body)

    async with peer(handler) as (transport, target):
        yield {
            "page": lambda: transport.get_batches(target, disperser, 1, LIMIT, 10),
            "cells": lambda: transport.get_records(target, HASH, PAIRS, 10),
            "error": lambda: transport.put_certificate(target, HASH, b"", 10),
        }


@asynccontextmanager
async def blocking_client(reply: Reply, disperser: bytes) -> AsyncIterator[Questions]:
    def ask(method: str, *arguments: Any) -> Callable[[], Awaitable[Any]]:
        async def asked() -> Any:
            return getattr(client, method)(*arguments)

        return asked

    with CellarClient("http://node", transport=scripted(reply)) as client:
        yield {
            "batch": ask("batch", 1),
            "page": ask("batches", 1, LIMIT, disperser),
            "payload": ask("status", HASH),
            "cells": ask("cells", HASH, PAIRS),
            "error": ask("status", HASH),
        }


@asynccontextmanager
async def asyncio_client(reply: Reply, disperser: bytes) -> AsyncIterator[Questions]:
    async with AsyncCellarClient("http://node", transport=scripted(reply)) as client:
        yield {
            "batch": lambda: client.batch(1),
            "page": lambda: client.batches(1, LIMIT, disperser),
            "payload": lambda: client.status(HASH),
            "cells": lambda: client.cells(HASH, PAIRS),
            "error": lambda: client.status(HASH),
        }


@asynccontextmanager
async def light_client(reply: Reply, disperser: bytes) -> AsyncIterator[Questions]:
    client = MemberClient(0, member(1), scripted(reply))
    try:
        yield {
            "batch": lambda: client.batch("1", None, 10),
            "page": lambda: client.batches(1, LIMIT, disperser, 10),
            "payload": lambda: client.batch_of_payload(HASH, 10),
            "cells": lambda: client.cells(HASH, [Coordinates(*pair) for pair in PAIRS], 10),
            "error": lambda: client.batch("1", None, 10),
        }
    finally:
        await client.close()


# Caller -> what opens it; its error for a document that cannot be read, for the body of a 404 that cannot be
# read, and for one that can.
CALLERS: dict[str, tuple[Caller, type[Exception], type[Exception], type[Exception]]] = {
    "HttpTransport": (http_transport, PeerMisbehaved, PeerMisbehaved, PeerRejected),
    "CellarClient": (blocking_client, InvalidAnswer, InvalidAnswer, Refused),
    "AsyncCellarClient": (asyncio_client, InvalidAnswer, InvalidAnswer, Refused),
    "light client": (light_client, LightPeerMisbehaved, PeerUnreachable, PeerUnknown),
}


def refused(kind: str, body: bytes, disperser: bytes, *, checks_contents: bool) -> bool:
    """Whether the decoder refuses the body, or the check of the contents that follows it in the clients."""
    decoders: dict[str, Callable[[bytes], Any]] = {
        "batch": lambda body: (batches.decode_bytes(body),),
        "page": lambda body: (
            batches.decode_page(body, from_height=1, limit=LIMIT, disperser_id=disperser).batches
        ),
        "payload": payloads.decode_bytes,
        "cells": lambda body: cells.decode_answer(body, len(PAIRS)),
        "error": errors.decode,
    }
    try:
        found = decoders[kind](body)
    except InvalidDocument:
        return True
    if checks_contents and kind in ("batch", "page"):
        try:
            for batch in found:
                if isinstance(batch, LiveBatch):
                    batch.proposal.verify_contents()
        except InvalidProposal:
            return True
    return False


async def outcomes(caller: str, disperser: bytes, bodies: dict[str, list[bytes]]) -> None:
    """Give the caller each body in answer to each of its questions and check what comes of it."""
    opened, wrong_document, wrong_error, typed_error = CALLERS[caller]
    reply = Reply()
    async with opened(reply, disperser) as questions:
        for kind, ask in questions.items():
            reply.status = 404 if kind == "error" else 200
            for body in bodies[kind]:
                reply.body = body
                expected = typed_error if kind == "error" else None
                if refused(kind, body, disperser, checks_contents="Client" in caller):
                    expected = wrong_error if kind == "error" else wrong_document
                (outcome,) = await asyncio.gather(ask(), return_exceptions=True)
                if expected is None:
                    assert not isinstance(outcome, Exception), (kind, body[:500], outcome)
                else:
                    assert isinstance(outcome, expected), (kind, body[:500], outcome)


@pytest.mark.parametrize("caller", CALLERS)
def test_hostile_bodies_are_the_callers_typed_error(caller: str, batch: Any) -> None:
    bodies = {kind: list(hostile.BODIES) for kind in ("batch", "page", "payload", "cells", "error")}
    asyncio.run(outcomes(caller, batch.header.disperser_id, bodies))


@pytest.mark.parametrize("caller", CALLERS)
def test_a_caller_refuses_what_the_decoder_refuses(caller: str, batch: Any, live: Any) -> None:
    info = PayloadInfo(HASH, HASH, "certified", 3, 1, header_hash=HASH, batch_height=1)
    documents = {
        "batch": live,
        "page": batches.encode_page([live], None),
        "payload": payloads.encode(info),
        "error": errors.encode("NotFound", "because", {"field": [1]}),
    }
    rng = random.Random(8)
    bodies: dict[str, list[bytes]] = {}
    for kind, document in documents.items():
        changed = [each for _, each in hostile.changes(document)]
        chosen = [document, *rng.sample(changed, min(SAMPLE, len(changed)))]
        bodies[kind] = [json.dumps(each).encode() for each in chosen]
    answer = cells.encode_answer([cells.NOT_HELD, cells.Record(bytes(RECORD_BYTES))])
    bodies["cells"] = [answer, answer[:-1], answer + b"\1", b"\1\2", b"\1\3", b"\1", b"\0" + answer]
    asyncio.run(outcomes(caller, batch.header.disperser_id, bodies))


@pytest.mark.parametrize("caller", CALLERS)
def test_values_that_readers_once_took_or_broke_on_are_refused(caller: str, batch: Any, live: Any) -> None:
    spaced = "0x " + live["certificate"].removeprefix("0x") + "\n"
    entry = live["payloads"][0]
    wrong = [
        live | {"certificate": spaced},
        live | {"payloads": [entry | {"first_row": 0.0}, *live["payloads"][1:]]},
        live | {"payloads": [entry | {"length": True}, *live["payloads"][1:]]},
        live | {"commitments": [live["commitments"][0][:-2] + " \n", *live["commitments"][1:]]},
    ]
    pages = [batches.encode_page([each], None) for each in wrong]
    info = payloads.encode(PayloadInfo(HASH, HASH, "queued", 3, 1))
    statuses = [info | {"payload_id": spaced}, info | {"certificate": spaced}, info | {"length": 3.0}]
    bodies = {
        kind: [json.dumps(each).encode() for each in documents]
        for kind, documents in (("batch", wrong), ("page", pages), ("payload", statuses))
    }
    for kind, each in ((kind, each) for kind, listed in bodies.items() for each in listed):
        assert refused(kind, each, batch.header.disperser_id, checks_contents=False)
    asyncio.run(outcomes(caller, batch.header.disperser_id, bodies | {"cells": [], "error": []}))


@pytest.mark.parametrize("wrapped", [False, True], ids=["node", "dishonest node"])
def test_hostile_queries_are_a_typed_refusal(wrapped: bool, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("data_dir", "committee_file", "keystore_file")}
    settings = Settings(**files)

    async def main() -> None:
        node: Any = FakeNode(None, member(1).id)  # type: ignore[arg-type]
        node.config = settings.node
        app: Any = create_app(node, settings.http, settings.tokens)
        if wrapped:
            app = Dishonest(app, Lies(withheld=frozenset({1}), corrupted=frozenset({2})))
        node.cells = {pair: cells.Record(bytes(RECORD_BYTES)) for pair in PAIRS}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node") as client:

            async def post(body: bytes) -> httpx.Response:
                headers = {"content-type": "application/json"}
                return await client.post(f"/v1/batches/0x{HASH.hex()}/cells", content=body, headers=headers)

            for body in hostile.BODIES:
                answer = await post(body)
                assert answer.status_code in (400, 413), (body[:80], answer.status_code)
                assert errors.decode(answer.content).error in ("InvalidParameter", "BodyTooLarge")
            honest = await post(cells.encode_query(PAIRS))
            answers = cells.decode_answer(honest.content, len(PAIRS))
            bent = cells.Record(bytes(BYTES_PER_CELL - 1) + b"\1" + bytes(RECORD_BYTES - BYTES_PER_CELL))
            assert answers == ([cells.NOT_HELD, bent] if wrapped else [cells.Record(bytes(RECORD_BYTES))] * 2)

    asyncio.run(main())
