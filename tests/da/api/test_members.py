"""What dispersers and anybody else may put onto a member."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from da.errors import HeightGap, InvalidDisperserSignature, QueueFull
from da.protocol.attestation import Attestation
from da.protocol.certificate import MAX_CERTIFICATE_BYTES
from da.protocol.push import RECORD_BYTES, ColumnPush, encode_prelude, push_bytes_max

pytestmark = pytest.mark.anyio


@pytest.fixture
def push(node) -> tuple[str, bytes]:
    """The address and the body of a push of two columns of the first batch."""
    record = node.log[0]
    prelude = encode_prelude(record.proposal, bytes(96), (3, 5))
    records = bytes([3]) * RECORD_BYTES + bytes([5]) * RECORD_BYTES
    return f"/v1/batches/0x{record.header.hash.hex()}/columns", prelude + records


async def test_a_push_is_answered_with_the_attestation(node, client: httpx.AsyncClient, push: Any) -> None:
    path, body = push
    answer = await client.put(path, content=body)
    assert (answer.status_code, len(answer.content)) == (200, 160)
    (taken,) = node.pushes
    assert isinstance(taken, ColumnPush)
    assert taken.columns == (3, 5)
    assert np.array_equal(taken.records[1], np.full((1, RECORD_BYTES), 5, np.uint8))
    calls = [call[0] for call in node.asked]
    assert calls == ["check_push", "accept_push"]
    assert node.push_room.used == 0


async def test_a_body_that_never_comes_takes_no_room(
    node, make_client: Callable[..., httpx.AsyncClient], push: Any
) -> None:
    path, body = push

    async def stalled() -> Any:
        yield body[:100]
        await asyncio.Event().wait()

    length = {"content-length": str(push_bytes_max(node.column_count))}
    answer = await make_client(body_grace_s=0.05).put(path, content=stalled(), headers=length)
    assert (answer.status_code, answer.json()["error"]) == (408, "BodyTooSlow")
    assert node.asked == [], "room is for those whose head was checked"


async def test_a_repeated_push_takes_no_room_and_its_body_is_dropped(
    node, client: httpx.AsyncClient, push: Any
) -> None:
    path, body = push
    header_hash = node.log[0].header.hash
    node.attested[header_hash] = Attestation(node.member_id, header_hash, bytes([1]) * 96)

    async def pieces() -> Any:
        for start in range(0, len(body), 300):
            yield body[start : start + 300]

    answer = await client.put(path, content=pieces())
    assert (answer.status_code, answer.content) == (200, node.attested[header_hash].encode())
    assert [call[0] for call in node.asked] == ["check_push"]
    answer = await client.put(path, content=body[:400], headers={"content-length": str(len(body))})
    assert answer.json()["error"] == "TruncatedBody"


async def test_waiting_for_room_is_not_the_senders_time(
    node, make_client: Callable[..., httpx.AsyncClient], push: Any
) -> None:
    path, body = push
    disperser_id = node.log[0].header.disperser_id

    async def pieces() -> Any:
        yield body[:400]
        yield body[400:]

    async with node.push_room.lease("somebody else") as held:
        await held.grow(2**19 - 100)
        async with node.push_room.lease(disperser_id) as own:
            await own.grow(2**18)
            client = make_client(body_grace_s=0.1)
            putting = asyncio.ensure_future(client.put(path, content=pieces()))
            await asyncio.sleep(0.15)
            assert not putting.done()
        answer = await putting
    assert answer.status_code == 200


async def test_a_stranger_is_refused_after_the_head(node, client: httpx.AsyncClient, push: Any) -> None:
    path, body = push
    read = 0

    async def pieces() -> Any:
        nonlocal read
        for start in range(0, len(body), 300):
            read += 1
            yield body[start : start + 300]

    async def refuse(*_: object) -> None:
        assert read <= 2, "the signature is checked before the body is read"
        raise InvalidDisperserSignature

    node.check_push = refuse
    answer = await client.put(path, content=pieces())
    assert (answer.status_code, answer.json()["error"]) == (403, "InvalidDisperserSignature")
    assert node.pushes == []


@pytest.mark.parametrize(
    ("error", "status"), [(HeightGap(4), 409), (QueueFull(3, "pushes"), 429)], ids=["gap", "full"]
)
async def test_what_the_node_says_is_passed_on(
    node, client: httpx.AsyncClient, push: Any, error: Exception, status: int
) -> None:
    path, body = push
    node.failure = error
    answer = await client.put(path, content=body)
    assert (answer.status_code, answer.json()["error"]) == (status, type(error).__name__)


async def test_a_push_for_another_address_is_refused(node, client: httpx.AsyncClient, push: Any) -> None:
    answer = await client.put("/v1/batches/0x" + "11" * 32 + "/columns", content=push[1])
    assert (answer.status_code, answer.json()["parameter"]) == (400, "batch")
    assert node.pushes == []


@pytest.mark.parametrize("cut", [0, 1, 100, 283, 284, 379, 380, 400, -1], ids=str)
async def test_a_push_that_is_too_short_is_refused(
    node, client: httpx.AsyncClient, push: Any, cut: int
) -> None:
    path, body = push
    answer = await client.put(path, content=body[:cut])
    assert answer.status_code == 400
    assert answer.json()["error"] in ("DecodeError", "InvalidPush", "InvalidHeader")
    assert node.pushes == []


async def test_a_push_that_is_too_long_is_refused(node, client: httpx.AsyncClient, push: Any) -> None:
    path, body = push
    answer = await client.put(path, content=body + b"\x00")
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidPush")
    limit = push_bytes_max(node.column_count)
    answer = await client.put(path, content=b"", headers={"content-length": str(limit + 1)})
    assert (answer.status_code, answer.json()["limit_bytes"]) == (413, limit)
    assert node.pushes == []


async def test_the_cap_follows_from_the_custody(node) -> None:
    # Three members at a replication of 4: everybody holds all 128 columns of up to 256 rows.
    assert 128 * 256 * RECORD_BYTES < push_bytes_max(node.column_count) < 128 * 256 * RECORD_BYTES + 40_000


async def test_by_height_nothing_can_be_pushed(client: httpx.AsyncClient, push: Any) -> None:
    assert (await client.put("/v1/batches/1/columns", content=push[1])).status_code == 400


async def test_a_certificate_is_handed_over(node, client: httpx.AsyncClient) -> None:
    answer = await client.put("/v1/batches/0x" + "11" * 32 + "/certificate", content=b"cert")
    assert (answer.status_code, answer.content) == (204, b"")
    assert node.certificates == [(b"\x11" * 32, b"cert")]


async def test_a_certificate_is_short(node, client: httpx.AsyncClient) -> None:
    answer = await client.put(
        "/v1/batches/0x" + "11" * 32 + "/certificate", content=bytes(MAX_CERTIFICATE_BYTES + 1)
    )
    assert (answer.status_code, answer.json()["error"]) == (413, "BodyTooLarge")
    assert node.certificates == []


async def test_pushes_of_other_media_are_refused(
    make_client: Callable[..., httpx.AsyncClient], node, push: Any
) -> None:
    answer = await make_client().put(push[0], content=push[1], headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    assert node.asked == []
