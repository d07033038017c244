"""The client for asyncio; see `da.client`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Self

import httpx

from da import outgoing
from da.client import calls
from da.client.answers import Batch, PayloadInfo, settled
from da.client.calls import Call, T
from da.client.core import ANSWER_BYTES_MAX, DEFAULT_URL, HOLD_S, BaseClient, next_look_s


class AsyncCellarClient(BaseClient):
    """`CellarClient` for asyncio: the same methods, awaited; `async with`, or `await aclose()`."""

    def __init__(
        self, url: str = DEFAULT_URL, *, transport: httpx.AsyncBaseTransport | None = None, **options: Any
    ) -> None:
        super().__init__(url, **options)
        self._http = outgoing.async_client(transport, trust_env=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def _send(self, call: Call[T], timeout_s: float | None = None) -> T:
        patience = self._patience(timeout_s)
        while True:
            outcome: httpx.Response | httpx.TransportError
            try:
                async with self._http.stream(**self._request(call, patience)) as answer:
                    body = outgoing.Body(answer, ANSWER_BYTES_MAX)
                    async for part in answer.aiter_raw():
                        body.add(part)
                outcome = body.answer()
            except httpx.TransportError as error:
                outcome = error
            except outgoing.UnwantedAnswer as error:
                raise self._unwanted(call, error) from None
            pause_s = self._again(outcome, patience)
            if pause_s is None:
                return self._conclude(call, outcome)
            await asyncio.sleep(pause_s)

    async def post(self, namespace: str, payload: bytes) -> PayloadInfo:
        """Post a payload; returns as soon as the node has it durably."""
        return await self._send(calls.post(namespace, payload, None))

    async def post_and_wait(
        self, namespace: str, payload: bytes, timeout_s: float | None = None
    ) -> PayloadInfo:
        """Post a payload and wait for its certificate. Raises StillWaiting when the time is over first."""
        patience = self._patience(timeout_s)
        hold_s = max(0.001, min(HOLD_S, patience.left_s()))
        posted = await self._send(calls.post(namespace, payload, hold_s), patience.left_s())
        if posted.certificate is not None:
            return posted
        info = await self.wait(posted.payload_id, namespace, patience.left_s())
        certificate = await self.certificate(posted.payload_id, namespace)
        return replace(info, created=posted.created, certificate=certificate)

    async def wait(
        self, payload_id: bytes, namespace: str | None = None, timeout_s: float | None = None
    ) -> PayloadInfo:
        """Wait until a payload posted before is certified. Raises StillWaiting, Conflict (failed)."""
        patience = self._patience(timeout_s)
        while True:
            info = await self.status(payload_id, namespace)
            pause_s = next_look_s(info, patience)
            if pause_s is None:
                return settled(info)
            await asyncio.sleep(pause_s)

    async def status(self, payload_id: bytes, namespace: str | None = None) -> PayloadInfo:
        """Where a payload is."""
        return await self._send(calls.status(payload_id, namespace))

    async def payload(self, payload_id: bytes) -> bytes:
        """The bytes of a payload."""
        return await self._send(calls.payload(payload_id))

    async def certificate(self, payload_id: bytes, namespace: str | None = None) -> bytes:
        """The encoded certificate of the batch that carries a payload."""
        return await self._send(calls.certificate(payload_id, namespace))

    async def proof(self, payload_id: bytes, namespace: str | None = None) -> dict[str, Any]:
        """The inclusion proof of a payload, as the API's JSON."""
        return await self._send(calls.proof(payload_id, namespace))

    async def opening(
        self, payload_id: bytes, *, z: bytes | None = None, index: int | None = None, row: int = 0
    ) -> dict[str, Any]:
        """A KZG opening at a point or at an element, as the API's JSON."""
        return await self._send(calls.opening(payload_id, z, index, row))

    async def batch(self, ref: int | bytes, disperser_id: bytes | None = None) -> Batch:
        """A batch by height or header hash."""
        return await self._send(calls.batch(ref, disperser_id))

    async def batches(
        self, from_height: int = 1, limit: int = 100, disperser_id: bytes | None = None
    ) -> list[Batch]:
        """Certified batches from a height on, in order."""
        return await self._send(calls.batches(from_height, limit, disperser_id))

    async def cells(self, ref: int | bytes, pairs: Iterable[tuple[int, int]]) -> list[bytes | None]:
        """2096-byte records (cell and proof) at (row, column) pairs; None where the node cannot serve one."""
        return await self._send(calls.cells(ref, list(pairs)))

    async def node(self) -> dict[str, Any]:
        """What the node says of itself."""
        return await self._send(calls.node())
