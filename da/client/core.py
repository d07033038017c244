"""The retry loop's bookkeeping, shared by the blocking and the asyncio client."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from da.client.answers import PayloadInfo, refusal
from da.client.calls import Call, T
from da.client.errors import InvalidAnswer, NodeUnreachable, StillWaiting
from da.outgoing import UnwantedAnswer

DEFAULT_URL = "http://127.0.0.1:4560"
DEFAULT_TIMEOUT_S = 60.0
ATTEMPT_TIMEOUT_S = 30.0
# How long a post may be held by `wait=certified`; after that the status is asked for.
HOLD_S = 20.0
BACKOFF_INITIAL_S = 0.2
BACKOFF_MAX_S = 5.0
# Above any page of the log that a node was seen to give; a payload has 16 MiB at most.
ANSWER_BYTES_MAX = 64 * 2**20
RETRIED = frozenset({408, 429, 502, 503})


@dataclass
class Patience:
    """What is left of a call's time, and the pauses between its attempts."""

    deadline_s: float
    clock: Callable[[], float]
    rng: random.Random
    backoff_s: float = BACKOFF_INITIAL_S

    def left_s(self) -> float:
        """Seconds until the call's time is over; negative after."""
        return self.deadline_s - self.clock()

    def pause_s(self, asked_s: float | None) -> float | None:
        """Seconds to pause before another attempt, None when there is no time for one."""
        pause_s = self.backoff_s * self.rng.uniform(0.5, 1.0) if asked_s is None else asked_s
        self.backoff_s = min(BACKOFF_MAX_S, 2 * self.backoff_s)
        return None if pause_s >= self.left_s() else pause_s


class BaseClient:
    """What both clients have in common: addresses, headers, the clock of the retries."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._timeout_s = timeout_s
        self._clock = clock
        self._rng = rng or random.Random()

    def _patience(self, timeout_s: float | None = None) -> Patience:
        allowed_s = self._timeout_s if timeout_s is None else timeout_s
        return Patience(self._clock() + allowed_s, self._clock, self._rng)

    def _request(self, call: Call[T], patience: Patience) -> dict[str, Any]:
        """Arguments of httpx's `request` for one attempt."""
        headers = dict(self._headers)
        if call.content is not None:
            headers["content-type"] = "application/octet-stream"
        # An attempt gets a second even at the very end, so that a node that answers at once is heard.
        timeout_s = max(1.0, min(ATTEMPT_TIMEOUT_S, patience.left_s())) + call.hold_s
        return {
            "method": call.method,
            "url": self._url + call.path,
            "params": call.params,
            "content": call.content,
            "json": call.json,
            "headers": headers,
            "timeout": timeout_s,
        }

    def _again(self, outcome: httpx.Response | httpx.TransportError, patience: Patience) -> float | None:
        """Seconds until the next attempt; None when this outcome is the answer or there is no time left."""
        if isinstance(outcome, httpx.TransportError):
            return patience.pause_s(None)
        if outcome.status_code not in RETRIED:
            return None
        asked = outcome.headers.get("retry-after", "")
        return patience.pause_s(float(asked) if asked.isascii() and asked.isdigit() else None)

    def _unwanted(self, call: Call[T], error: UnwantedAnswer) -> InvalidAnswer:
        return InvalidAnswer(f"{self._url}{call.path}: {error}")

    def _conclude(self, call: Call[T], outcome: httpx.Response | httpx.TransportError) -> T:
        """The value of the last outcome, or its error."""
        if isinstance(outcome, httpx.TransportError):
            reason = str(outcome) or type(outcome).__name__
            raise NodeUnreachable(f"{self._url}: {reason}") from outcome
        if not outcome.is_success:
            raise refusal(outcome)
        try:
            return call.read(outcome)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise InvalidAnswer(f"{self._url}{call.path}: {type(error).__name__}: {error}") from error


def next_look_s(info: PayloadInfo, patience: Patience) -> float | None:
    """Seconds until the status is worth another look; None when it is settled."""
    if info.status in ("certified", "failed", "expired"):
        return None
    pause_s = patience.pause_s(None)
    if pause_s is None:
        raise StillWaiting(info)
    return pause_s
