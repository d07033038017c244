"""Folds over HTTP: the query, the answer, and what an address may have of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from da.errors import Expired, NotReconstructable, QueueFull
from da.protocol.push import RECORD_BYTES
from da.wire import folds
from da.wire.cells import CORRUPT, NOT_HELD, Record, decode_answer
from tests.da.api.conftest import FakeNode
from tests.da.api.test_addresses import ONE, OTHER, Held, answer

pytestmark = pytest.mark.anyio

SEED = bytes(range(32))
TEXT = "0x" + SEED.hex()
HASH = "0x" + "11" * 32
PATH = f"/v1/batches/{HASH}/folds"
JSON = {"content-type": "application/json"}


async def test_folds_come_in_the_order_asked_for(node: FakeNode, client: httpx.AsyncClient) -> None:
    node.folded = {3: Record(b"\x07" * RECORD_BYTES), 9: CORRUPT, 1: Record(b"\x08" * RECORD_BYTES)}
    got = await client.post(PATH, content=folds.encode_query(SEED, [9, 3, 5, 1]), headers=JSON)
    assert got.status_code == 200
    assert got.headers["content-type"] == "application/octet-stream"
    assert decode_answer(got.content, 4) == [CORRUPT, node.folded[3], NOT_HELD, node.folded[1]]
    assert node.asked == [("folds", bytes.fromhex(HASH[2:]), SEED, (9, 3, 5, 1))]


async def test_a_height_names_a_batch_too(node: FakeNode, client: httpx.AsyncClient) -> None:
    query = folds.encode_query(SEED, [0])
    assert (await client.post("/v1/batches/2/folds", content=query, headers=JSON)).status_code == 200
    assert node.asked[-1][1] == node.log[1].header.hash
    assert (await client.post("/v1/batches/77/folds", content=query, headers=JSON)).status_code == 404
    assert (await client.post("/v1/batches/x/folds", content=query, headers=JSON)).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        json.dumps({"seed": TEXT[:-2], "columns": [1]}).encode(),
        json.dumps({"seed": TEXT + "00", "columns": [1]}).encode(),
        json.dumps({"seed": TEXT, "columns": []}).encode(),
        json.dumps({"seed": TEXT, "columns": [4, 4]}).encode(),
        json.dumps({"seed": TEXT, "columns": [128]}).encode(),
        json.dumps({"seed": TEXT, "columns": [*range(128), 0]}).encode(),
        json.dumps({"seed": TEXT, "columns": [1], "cells": []}).encode(),
        b'{"columns": ' + b"[" * 1000,
    ],
)
async def test_a_bad_query_is_refused(node: FakeNode, client: httpx.AsyncClient, body: bytes) -> None:
    got = await client.post(PATH, content=body, headers=JSON)
    assert (got.status_code, got.json()["error"]) == (400, "InvalidParameter")
    assert got.json()["parameter"] == "folds"
    assert node.asked == []


async def test_other_bodies_are_refused(client: httpx.AsyncClient) -> None:
    query = folds.encode_query(SEED, [0])
    other = await client.post(PATH, content=query, headers={"content-type": "text/plain"})
    assert other.status_code == 415
    long = await client.post(PATH, content=query + b" " * folds.QUERY_BYTES_MAX, headers=JSON)
    assert long.status_code == 413


async def test_the_number_of_columns_is_a_setting(
    node: FakeNode, make_client: Callable[..., httpx.AsyncClient]
) -> None:
    client = make_client(folds_per_read_max=4)
    for count, status in ((4, 200), (5, 400)):
        query = folds.encode_query(SEED, range(count))
        assert (await client.post(PATH, content=query, headers=JSON)).status_code == status


@pytest.mark.parametrize(
    ("failure", "status"),
    [(Expired("batch", HASH), 410), (NotReconstructable("lost"), 503), (QueueFull(3, "folds"), 429)],
)
async def test_the_node_s_errors_are_told(
    node: FakeNode, client: httpx.AsyncClient, failure: Exception, status: int
) -> None:
    node.failure = failure
    got = await client.post(PATH, content=folds.encode_query(SEED, [0]), headers=JSON)
    assert (got.status_code, got.json()["error"]) == (status, type(failure).__name__)
    assert ("retry-after" in got.headers) == (status != 410)


def ask(columns: range) -> bytes:
    body = folds.encode_query(SEED, columns)
    head = f"POST {PATH} HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def test_folds_of_one_address_wait_for_its_own(running: Callable[..., Any], node: FakeNode) -> None:
    node.folds = held = Held([NOT_HELD])  # type: ignore[method-assign]
    async with running() as run:
        flood = [(await run.connect(ask(range(128)), ONE))[0] for _ in range(1 + 16 + 5)]
        pending = {asyncio.ensure_future(answer(reader)) for reader in flood}
        refused: set[asyncio.Future[Any]] = set()
        while len(refused) < 5:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            refused |= done
        assert {task.result()[1]["error"] for task in refused} == {"TooManyFromAddress"}
        assert held.entered == 1, "one at a time, however many are asked for"
        # Nobody else waits for them, for a fold or for a cell; nor does the address itself, for cells.
        other, _ = await run.connect(ask(range(1)), OTHER)
        await held.until(2)
        for address in (ONE, OTHER):
            reader, _ = await run.connect(
                b"GET /v1/batches/1/cells/0/0 HTTP/1.1\r\nHost: node\r\n\r\n", address
            )
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        held.release.set()
        assert (await other.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        for task in pending:
            task.cancel()
