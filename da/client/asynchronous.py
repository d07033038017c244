"""The client for asyncio; see `da.client`."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import httpx

from da import outgoing
from da.client import calls, reading
from da.client.calls import Call, T
from da.client.exchange import ANSWER_BYTES_MAX, Outcome, Pause, Session, Steps, Work
from da.client.options import DEFAULT_TIMEOUT_S, DEFAULT_URL, checked_url
from da.client.reading import PayloadRead
from da.protocol.committee import Committee
from da.wire.batches import BatchDocument
from da.wire.cells import CellAnswer
from da.wire.payloads import PayloadInfo


class AsyncCellarClient:
    """`CellarClient` for asyncio: the same methods, awaited; `async with`, or `await aclose()`."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        committee: Committee | None = None,
        others: Sequence[str] = (),
        timeout_s: float = DEFAULT_TIMEOUT_S,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._session = Session(url, token=token, timeout_s=timeout_s, clock=clock, rng=rng)
        self._committee = committee
        self._others = [checked_url(other) for other in others]
        self._http = outgoing.async_client(transport, trust_env=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def _run(self, steps: Steps[T]) -> T:
        outcome: Outcome | None = None
        try:
            while True:
                step = steps.send(outcome)
                outcome = None
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    continue
                if isinstance(step, Work):
                    outcome = await asyncio.to_thread(step.outcome)
                    continue
                try:
                    async with self._http.stream(**step.arguments) as answer:
                        body = outgoing.Body(answer, ANSWER_BYTES_MAX)
                        async for part in answer.aiter_raw():
                            body.add(part)
                    outcome = body.answer()
                except (httpx.RequestError, outgoing.UnwantedAnswer) as error:
                    outcome = error
        except StopIteration as end:
            value: T = end.value
            return value

    async def _send(self, call: Call[T]) -> T:
        return await self._run(self._session.send(call))

    async def post(self, namespace: str, payload: bytes) -> PayloadInfo:
        """Post a payload; returns as soon as the node has it durably."""
        return await self._send(calls.post(namespace, payload, None))

    async def post_and_wait(
        self, namespace: str, payload: bytes, timeout_s: float | None = None
    ) -> PayloadInfo:
        """Post a payload and wait for its certificate. Raises StillWaiting when the time is over first."""
        return await self._run(self._session.post_and_wait(namespace, payload, timeout_s))

    async def wait(
        self, payload_id: bytes, namespace: str | None = None, timeout_s: float | None = None
    ) -> PayloadInfo:
        """Wait until a payload posted before is certified. Raises StillWaiting, Conflict (failed)."""
        return await self._run(self._session.wait(payload_id, namespace, timeout_s))

    async def status(self, payload_id: bytes, namespace: str | None = None) -> PayloadInfo:
        """Where a payload is."""
        return await self._send(calls.status(payload_id, namespace))

    async def payload(self, payload_id: bytes, *, verify: bool = True) -> bytes:
        """The bytes of a payload, verified by `read_payload`; `verify=False`: whatever the node sends."""
        if not verify:
            return await self._send(calls.payload(payload_id))
        return (await self.read_payload(payload_id)).content

    async def read_payload(self, payload_id: bytes) -> PayloadRead:
        """The bytes of a certified payload, checked against the id and, with a committee, its certificate.

        Raises NotKnown and Gone with what up to 3 other members `said`, Undecodable for certain, Conflict
        when the payload has no certificate yet.
        """
        return await self._run(reading.read(self._session, payload_id, self._committee, self._others))

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

    async def batch(self, ref: int | bytes, disperser_id: bytes | None = None) -> BatchDocument:
        """A batch by height or header hash."""
        return await self._send(calls.batch(ref, disperser_id))

    async def batches(
        self, from_height: int = 1, limit: int = 100, disperser_id: bytes | None = None
    ) -> list[BatchDocument]:
        """Certified batches from a height on, in order."""
        return await self._send(calls.batches(from_height, limit, disperser_id))

    async def cells(self, ref: int | bytes, pairs: Iterable[tuple[int, int]]) -> list[CellAnswer]:
        """What the node has at (row, column) pairs, in order; records (cell and proof) are not verified."""
        return await self._send(calls.cells(ref, list(pairs)))

    async def node(self) -> dict[str, Any]:
        """What the node says of itself."""
        return await self._send(calls.node())
