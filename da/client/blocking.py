"""The client for plain code; see `da.client`."""

from __future__ import annotations

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


class CellarClient:
    """Talks to one node. Use as a context manager, or call `close`.

    Args (keyword ones optional): url of the node; token for posting; committee whose certificates
        payloads must have; others: urls of members that may confirm what the node says it does not have;
        timeout_s of each call, retries included; transport: an httpx transport (tests).
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        committee: Committee | None = None,
        others: Sequence[str] = (),
        timeout_s: float = DEFAULT_TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._session = Session(url, token=token, timeout_s=timeout_s, clock=clock, rng=rng)
        self._committee = committee
        self._others = [checked_url(other) for other in others]
        self._http = outgoing.client(transport, trust_env=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def _run(self, steps: Steps[T]) -> T:
        outcome: Outcome | None = None
        try:
            while True:
                step = steps.send(outcome)
                outcome = None
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    continue
                if isinstance(step, Work):
                    outcome = step.outcome()
                    continue
                try:
                    with self._http.stream(**step.arguments) as answer:
                        body = outgoing.Body(answer, ANSWER_BYTES_MAX)
                        for part in answer.iter_raw():
                            body.add(part)
                    outcome = body.answer()
                except (httpx.RequestError, outgoing.UnwantedAnswer) as error:
                    outcome = error
        except StopIteration as end:
            value: T = end.value
            return value

    def _send(self, call: Call[T]) -> T:
        return self._run(self._session.send(call))

    def post(self, namespace: str, payload: bytes) -> PayloadInfo:
        """Post a payload; returns as soon as the node has it durably."""
        return self._send(calls.post(namespace, payload, None))

    def post_and_wait(self, namespace: str, payload: bytes, timeout_s: float | None = None) -> PayloadInfo:
        """Post a payload and wait for its certificate. Raises StillWaiting when the time is over first."""
        return self._run(self._session.post_and_wait(namespace, payload, timeout_s))

    def wait(
        self, payload_id: bytes, namespace: str | None = None, timeout_s: float | None = None
    ) -> PayloadInfo:
        """Wait until a payload posted before is certified. Raises StillWaiting, Conflict (failed)."""
        return self._run(self._session.wait(payload_id, namespace, timeout_s))

    def status(self, payload_id: bytes, namespace: str | None = None) -> PayloadInfo:
        """Where a payload is."""
        return self._send(calls.status(payload_id, namespace))

    def payload(self, payload_id: bytes, *, verify: bool = True) -> bytes:
        """The bytes of a payload, verified by `read_payload`; `verify=False`: whatever the node sends."""
        if not verify:
            return self._send(calls.payload(payload_id))
        return (self.read_payload(payload_id)).content

    def read_payload(self, payload_id: bytes) -> PayloadRead:
        """The bytes of a certified payload, checked against the id and, with a committee, its certificate.

        Raises NotKnown and Gone with what up to 3 other members `said`, Undecodable for certain, Conflict
        when the payload has no certificate yet.
        """
        return self._run(reading.read(self._session, payload_id, self._committee, self._others))

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

    def batch(self, ref: int | bytes, disperser_id: bytes | None = None) -> BatchDocument:
        """A batch by height or header hash."""
        return self._send(calls.batch(ref, disperser_id))

    def batches(
        self, from_height: int = 1, limit: int = 100, disperser_id: bytes | None = None
    ) -> list[BatchDocument]:
        """Certified batches from a height on, in order."""
        return self._send(calls.batches(from_height, limit, disperser_id))

    def cells(self, ref: int | bytes, pairs: Iterable[tuple[int, int]]) -> list[CellAnswer]:
        """What the node has at (row, column) pairs, in order; records (cell and proof) are not verified."""
        return self._send(calls.cells(ref, list(pairs)))

    def node(self) -> dict[str, Any]:
        """What the node says of itself."""
        return self._send(calls.node())
