"""One address has its share of each bounded thing; on a real server, from addresses of the loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from da.api.addresses import Places, is_among, owner_of, with_mapped
from da.node import PayloadOpening, PayloadStatus, Status
from da.store.base import BatchRecord
from kzg.openings import Opening
from tests.da.api.conftest import NAMESPACE, FakeNode

ONE, OTHER = "127.0.0.2", "127.0.0.3"
ID = "0x" + "00" * 32


@pytest.mark.parametrize(
    ("host", "owner"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:", "unix:"),
        ("x" * 1000, "x" * 64),
        ("", ""),
    ],
)
def test_whose_an_address_is(host: str, owner: str) -> None:
    assert owner_of(host) == owner


def test_places_are_counted_for_each_owner_and_forgotten() -> None:
    places = Places(2)
    assert [places.take("a") for _ in range(3)] == [True, True, False]
    assert places.take("b")
    places.give_back("a")
    assert places.take("a")
    for owner in ("a", "a", "b"):
        places.give_back(owner)
    assert len(places) == 0


def test_networks_of_proxies(make_settings: Callable[..., Any]) -> None:
    networks = make_settings(trusted_proxies="10.0.0.0/8, ::1").http.trusted_networks
    assert is_among("10.1.2.3", networks)
    assert is_among("::1", networks)
    assert is_among("::ffff:10.1.2.3", networks)
    assert with_mapped(networks) == ["10.0.0.0/8", "::1/128", "::ffff:10.0.0.0/104"]
    assert not any(is_among(host, networks) for host in ("11.0.0.1", "::2", "", "unix:"))
    with pytest.raises(ValueError, match="trusted_proxies"):
        make_settings(trusted_proxies=["proxy.example"])


def request(path: str, *lines: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: node", *lines, "", "")).encode()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    body = json.loads(await reader.readexactly(length))
    if head.split()[1] == b"429":
        assert b"retry-after: " in head.lower()
        assert body["retry_after_s"] >= 1
    return int(head.split()[1]), body


class Held:
    """A method of the node that waits, and counts who is in it."""

    def __init__(self, result: Any) -> None:
        self._result = result
        self.entered = 0
        self.changed = asyncio.Event()
        self.release = asyncio.Event()

    async def __call__(self, *_: Any, **__: Any) -> Any:
        self.entered += 1
        self.changed.set()
        await self.release.wait()
        return self._result

    async def until(self, count: int) -> None:
        while self.entered < count:
            self.changed.clear()
            await self.changed.wait()


@pytest.mark.anyio
async def test_connections_over_the_share_end_at_once_and_others_come_in(running: Callable[..., Any]) -> None:
    async with running(connections_per_address_max=2) as run:
        first = [await run.connect(request("/healthz"), ONE) for _ in range(2)]
        assert [(await answer(reader))[0] for reader, _ in first] == [200, 200]
        reader, _ = await run.connect(b"", ONE)
        status, body = await answer(reader)
        assert (status, body["error"]) == (429, "TooManyFromAddress")
        assert await reader.read() == b"", "and that is the end of the connection"
        other, _ = await run.connect(request("/healthz"), OTHER)
        assert (await answer(other))[0] == 200
        first[0][1].close()
        await first[0][1].wait_closed()
        while True:  # the server learns a moment later that the first one is gone
            again, _ = await run.connect(request("/healthz"), ONE)
            if (await answer(again))[0] == 200:
                break


@pytest.mark.anyio
async def test_requests_in_progress_behind_a_proxy_are_the_clients(
    running: Callable[..., Any], node: FakeNode
) -> None:
    """The proxy may have any number of connections; whom it names has a share of requests each."""
    node.payload_status = held = Held(  # type: ignore[method-assign]
        PayloadStatus(bytes(32), NAMESPACE, Status.QUEUED, 3, 1)
    )
    path = f"/v1/payloads/{ID}/status"
    async with running(connections_per_address_max=2, trusted_proxies=[ONE]) as run:
        busy = [await run.connect(request(path, "X-Forwarded-For: 192.0.2.1"), ONE) for _ in range(2)]
        await held.until(2)
        third, _ = await run.connect(request(path, "X-Forwarded-For: 192.0.2.1"), ONE)
        status, body = await answer(third)
        assert (status, body["error"]) == (429, "TooManyFromAddress")
        alive, _ = await run.connect(request("/healthz", "X-Forwarded-For: 192.0.2.1"), ONE)
        assert (await answer(alive))[0] == 200
        other, _ = await run.connect(request(path, "X-Forwarded-For: 192.0.2.2"), ONE)
        await held.until(3)
        # Nobody else is believed: this one counts as itself, whoever it says it is.
        liar, _ = await run.connect(request(path, "X-Forwarded-For: 192.0.2.1"), OTHER)
        await held.until(4)
        held.release.set()
        for reader in (*(reader for reader, _ in busy), other, liar):
            assert (await answer(reader))[0] == 200


@pytest.mark.anyio
async def test_one_address_has_its_share_of_the_streams(running: Callable[..., Any], node: FakeNode) -> None:
    async def subscribe(*_: Any) -> AsyncIterator[BatchRecord]:
        await asyncio.Event().wait()
        yield node.log[0]

    node.subscribe = subscribe  # type: ignore[method-assign]
    follow = request("/v1/batches/stream")
    async with running(streams_per_address_max=1, stream_clients_max=2) as run:
        reader, writer = await run.connect(follow, ONE)
        await reader.readuntil(b": open\n\n")
        refused, _ = await run.connect(follow, ONE)
        assert (await answer(refused))[0] == 429
        other, _ = await run.connect(follow, OTHER)
        await other.readuntil(b": open\n\n")
        writer.close()
        while len(run.context.streams_by_address) > 1:  # noqa: ASYNC110 - the server's own task ends it
            await asyncio.sleep(0)
        again, _ = await run.connect(follow, ONE)
        await again.readuntil(b": open\n\n")


@pytest.mark.anyio
async def test_reads_of_one_address_wait_for_its_own(running: Callable[..., Any], node: FakeNode) -> None:
    node.payload_bytes = held = Held(b"abc")  # type: ignore[method-assign]
    read = request(f"/v1/payloads/{ID}")
    limits = {
        "payload_bytes_max": 3,
        "read_inflight_bytes_per_address_max": 3,
        "read_inflight_bytes_max": 6,
        "post_inflight_bytes_max": 6,
        "bodies_waiting_max": 1,
    }
    async with running(**limits) as run:
        first, _ = await run.connect(read, ONE)
        await held.until(1)
        second, _ = await run.connect(read, ONE)
        third, _ = await run.connect(read, ONE)
        pending = {asyncio.ensure_future(answer(reader)) for reader in (second, third)}
        done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result()[0] for task in done] == [429], "one waits, the next is refused"
        assert held.entered == 1
        other, _ = await run.connect(read, OTHER)
        await held.until(2)
        held.release.set()
        for reader in (first, other):
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        await held.until(3)
        for task in pending - done:
            task.cancel()


@pytest.mark.anyio
async def test_openings_of_one_address_wait_for_its_own(running: Callable[..., Any], node: FakeNode) -> None:
    opening = Opening(bytes(32), bytes(32), bytes(32), bytes(48), bytes(48))
    node.opening = held = Held(  # type: ignore[method-assign]
        PayloadOpening(bytes(32), 0, 0, bytes(32), opening)
    )
    ask = request(f"/v1/payloads/{ID}/opening?index=0")
    async with running(openings_waiting_max=2) as run:
        flood = [(await run.connect(ask, ONE))[0] for _ in range(8)]
        pending = {asyncio.ensure_future(answer(reader)) for reader in flood}
        refused: set[asyncio.Future[Any]] = set()
        while len(refused) < 5:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            refused |= done
        assert {task.result()[1]["error"] for task in refused} == {"TooManyFromAddress"}
        assert held.entered == 1
        other, _ = await run.connect(ask, OTHER)
        await held.until(2)
        held.release.set()
        assert (await answer(other))[0] == 200
        assert {(await task)[0] for task in pending} == {200}
