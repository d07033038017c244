"""The client for plain code; see `da.client`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Self

import httpx

from da import outgoing
from da.client import calls
from da.client.answers import Batch, PayloadInfo, settled
from da.client.calls import Call, T
from da.client.core import ANSWER_BYTES_MAX, DEFAULT_URL, HOLD_S, BaseClient, next_look_s


class CellarClient(BaseClient):
    """Talks to one node. Use as a context manager, or call `close`.

    Args (keyword ones optional): url of the node; token for posting; timeout_s of each call, retries
        included; transport: an httpx transport (tests).
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, transport: httpx.BaseTransport | None = None, **options: Any
    ) -> None:
        super().__init__(url, **options)
        self._http = outgoing.client(transport, trust_env=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def _send(self, call: Call[T], timeout_s: float | None = None) -> T:
        patience = self._patience(timeout_s)
        while True:
            outcome: httpx.Response | httpx.TransportError
            try:
                with self._http.stream(**self._request(call, patience)) as answer:
                    body = outgoing.Body(answer, ANSWER_BYTES_MAX)
                    for part in answer.iter_raw():
                        body.add(part)
                outcome = body.answer()
            except httpx.TransportError as error:
                outcome = error
            except outgoing.UnwantedAnswer as error:
                raise self._unwanted(call, error) from None
            pause_s = self._again(outcome, patience)
            if pause_s is None:
                return self._conclude(call, outcome)
            time.sleep(pause_s)

    def post(self, namespace: str, payload: bytes) -> PayloadInfo:
        """Post a payload; returns as soon as the node has it durably."""
        return self._send(calls.post(namespace, payload, None))

    def post_and_wait(self, namespace: str, payload: bytes, timeout_s: float | None = None) -> PayloadInfo:
        """Post a payload and wait for its certificate. Raises StillWaiting when the time is over first."""
        patience = self._patience(timeout_s)
        hold_s = max(0.001, min(HOLD_S, patience.left_s()))
        posted = self._send(calls.post(namespace, payload, hold_s), patience.left_s())
        if posted.certificate is not None:
            return posted
        info = self.wait(posted.payload_id, namespace, patience.left_s())
        certificate = self.certificate(posted.payload_id, namespace)
        return replace(info, created=posted.created, certificate=certificate)

    def wait(
        self, payload_id: bytes, namespace: str | None = None, timeout_s: float | None = None
    ) -> PayloadInfo:
        """Wait until a payload posted before is certified. Raises StillWaiting, Conflict (failed)."""
        patience = self._patience(timeout_s)
        while True:
            info = self.status(payload_id, namespace)
            pause_s = next_look_s(info, patience)
            if pause_s is None:
                return settled(info)
            time.sleep(pause_s)

    def status(self, payload_id: bytes, namespace: str | None = None) -> PayloadInfo:
        """Where a payload is."""
        return self._send(calls.status(payload_id, namespace))

    def payload(self, payload_id: bytes) -> bytes:
        """The bytes of a payload."""
        return self._send(calls.payload(payload_id))

    def certificate(self, payload_id: bytes, namespace: str | None = None) -> bytes:
        """The encoded certificate of the batch that carries a payload."""
        return self._send(calls.certificate(payload_id, namespace))

    def proof(self, payload_id: bytes, namespace: str | None = None) -> dict[str, Any]:
        """The inclusion proof of a payload, as the API's JSON."""
        return self._send(calls.proof(payload_id, namespace))

    def opening(
        self, payload_id: bytes, *, z: bytes | None = None, index: int | None = None, row: int = 0
    ) -> dict[str, Any]:
        """A KZG opening at a point or at an element, as the API's JSON."""
        return self._send(calls.opening(payload_id, z, index, row))

    def batch(self, ref: int | bytes, disperser_id: bytes | None = None) -> Batch:
        """A batch by height or header hash."""
        return self._send(calls.batch(ref, disperser_id))

    def batches(
        self, from_height: int = 1, limit: int = 100, disperser_id: bytes | None = None
    ) -> list[Batch]:
        """Certified batches from a height on, in order."""
        return self._send(calls.batches(from_height, limit, disperser_id))

    def cells(self, ref: int | bytes, pairs: Iterable[tuple[int, int]]) -> list[bytes | None]:
        """2096-byte records (cell and proof) at (row, column) pairs; None where the node cannot serve one."""
        return self._send(calls.cells(ref, list(pairs)))

    def node(self) -> dict[str, Any]:
        """What the node says of itself."""
        return self._send(calls.node())
