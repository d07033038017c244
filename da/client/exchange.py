"""One driver for both clients: what to send next, when to pause, when to stop; no I/O.

The idea: an operation is a generator of steps. It yields an `Attempt` and is sent the response, or httpx's
error, that came of it; it yields a `Pause` and is resumed after it; it yields `Work`, which would hold up an
event loop, and is sent the error that it ended in, if any; what it returns is the operation's value.
The blocking and the asyncio client only carry the steps out.

Retried are lost connections and the statuses in RETRIED, after the time that the node names or a growing one,
until the call's time is over. A request that httpx itself refuses to send is not retried.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx

from da.client import calls
from da.client.answers import refusal, settled
from da.client.calls import Call, T
from da.client.errors import InvalidAnswer, InvalidOption, NodeUnreachable, StillWaiting
from da.client.options import DEFAULT_TIMEOUT_S, DEFAULT_URL, checked_token, checked_url
from da.client.patience import Patience
from da.outgoing import UnwantedAnswer
from da.protocol.errors import InvalidEvidence
from da.wire.errors import InvalidDocument
from da.wire.payloads import PayloadInfo

ATTEMPT_TIMEOUT_S = 30.0
# How long a post may be held by `wait=certified`; after that the status is asked for.
HOLD_S = 20.0
# Above any page of the log that a node gives; a payload has 16 MiB at most.
ANSWER_BYTES_MAX = 64 * 2**20
RETRIED = frozenset({408, 429, 502, 503})

Heard = httpx.Response | httpx.RequestError | UnwantedAnswer
Outcome = Heard | InvalidEvidence
# Mistakes of this side: another attempt would fail in the same way.
NOT_SENT = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)


@dataclass(frozen=True)
class Attempt:
    """Send this request; `arguments` are those of httpx's `request`."""

    arguments: dict[str, Any]


@dataclass(frozen=True)
class Pause:
    """Wait so long before the next step."""

    seconds: float


@dataclass(frozen=True)
class Work:
    """Carry out this check, which takes a processor for some tenths of a second."""

    Check = Callable[[], None]
    check: Check

    def outcome(self) -> InvalidEvidence | None:
        """What it found, if anything."""
        try:
            self.check()
        except InvalidEvidence as error:
            return error
        return None


Steps = Generator[Attempt | Pause | Work, Outcome | None, T]


class Session:
    """One node as a client sees it: address, headers, and the clock of the retries."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        """Raises InvalidOption when url or token cannot be sent."""
        self.url = checked_url(url)
        token = checked_token(token)
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._timeout_s = timeout_s
        self._clock = clock
        self._rng = rng or random.Random()

    def at(self, url: str, timeout_s: float) -> Session:
        """The same client at another node, with less time for each call; it never sees the token."""
        timeout_s = min(timeout_s, self._timeout_s)
        return Session(url, timeout_s=timeout_s, clock=self._clock, rng=self._rng)

    def some_of(self, urls: Sequence[str], count: int) -> list[str]:
        """At most `count` of these, chosen at random."""
        return self._rng.sample(urls, min(count, len(urls)))

    def patience(self, timeout_s: float | None = None) -> Patience:
        """The time of a new call; `timeout_s` None means the session's."""
        allowed_s = self._timeout_s if timeout_s is None else timeout_s
        return Patience(self._clock() + allowed_s, self._clock, self._rng)

    def send(self, call: Call[T], patience: Patience | None = None) -> Steps[T]:
        """One exchange, repeated while that may help. Raises ClientError."""
        patience = patience or self.patience()
        while True:
            outcome = yield Attempt(self._request(call, patience))
            assert outcome is not None, "an attempt has an outcome"
            assert not isinstance(outcome, InvalidEvidence), "an attempt checks nothing"
            pause_s = _pause_s(outcome, patience)
            if pause_s is None:
                return self._conclude(call, outcome)
            yield Pause(pause_s)

    def post_and_wait(self, namespace: str, payload: bytes, timeout_s: float | None) -> Steps[PayloadInfo]:
        """Post, then wait for the certificate. Raises ClientError, StillWaiting among them."""
        patience = self.patience(timeout_s)
        hold_s = max(0.001, min(HOLD_S, patience.left_s()))
        post = calls.post(namespace, payload, hold_s)
        posted = yield from self.send(post, self.patience(patience.left_s()))
        if posted.certificate is not None:
            return posted
        info = yield from self.wait(posted.payload_id, namespace, patience.left_s())
        certificate = yield from self.send(calls.certificate(posted.payload_id, namespace))
        return replace(info, created=posted.created, certificate=certificate)

    def wait(self, payload_id: bytes, namespace: str | None, timeout_s: float | None) -> Steps[PayloadInfo]:
        """Ask for the status until it is final. Raises ClientError; StillWaiting when the time is over."""
        patience = self.patience(timeout_s)
        while True:
            info = yield from self.send(calls.status(payload_id, namespace))
            if info.status in ("certified", "failed", "expired"):
                return settled(info)
            pause_s = patience.pause_s(None)
            if pause_s is None:
                raise StillWaiting(info)
            yield Pause(pause_s)

    def _request(self, call: Call[T], patience: Patience) -> dict[str, Any]:
        headers = dict(self._headers)
        if call.content is not None:
            headers["content-type"] = call.media_type
        # An attempt gets a second even at the very end, so that a node that answers at once is heard.
        timeout_s = max(1.0, min(ATTEMPT_TIMEOUT_S, patience.left_s())) + call.hold_s
        return {
            "method": call.method,
            "url": self.url + call.path,
            "params": call.params,
            "content": call.content,
            "headers": headers,
            "timeout": timeout_s,
        }

    def _conclude(self, call: Call[T], outcome: Heard) -> T:
        """The value of the last outcome, or its error."""
        if isinstance(outcome, httpx.RequestError):
            reason = str(outcome) or type(outcome).__name__
            if isinstance(outcome, NOT_SENT):
                raise InvalidOption(f"{self.url}: the request cannot be sent: {reason}") from outcome
            if isinstance(outcome, httpx.TransportError):
                raise NodeUnreachable(f"{self.url}: {reason}") from outcome
            raise InvalidAnswer(f"{self.url}{call.path}: {type(outcome).__name__}: {reason}") from outcome
        if isinstance(outcome, UnwantedAnswer):
            raise InvalidAnswer(f"{self.url}{call.path}: {outcome}") from outcome
        if outcome.status_code >= 400:
            raise refusal(outcome)
        if outcome.status_code not in call.statuses:
            expected = " or ".join(map(str, sorted(call.statuses)))
            raise InvalidAnswer(f"{self.url}{call.path}: status {outcome.status_code}, expected {expected}")
        try:
            return call.read(outcome)
        except InvalidDocument as error:
            raise InvalidAnswer(f"{self.url}{call.path}: {error}") from error


def _pause_s(outcome: Heard, patience: Patience) -> float | None:
    """Seconds until the next attempt; None when this outcome is the answer or there is no time left."""
    if isinstance(outcome, httpx.RequestError):
        lost = isinstance(outcome, httpx.TransportError) and not isinstance(outcome, NOT_SENT)
        return patience.pause_s(None) if lost else None
    if isinstance(outcome, UnwantedAnswer) or outcome.status_code not in RETRIED:
        return None
    asked = outcome.headers.get("retry-after", "")
    return patience.pause_s(float(asked) if asked.isascii() and asked.isdigit() else None)
