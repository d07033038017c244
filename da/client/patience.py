"""How long a call goes on: what is left of its time, and the pauses between its attempts."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

BACKOFF_INITIAL_S = 0.2
BACKOFF_MAX_S = 5.0


@dataclass
class Patience:
    """One call's time. `clock` gives seconds; `deadline_s` is a time of it."""

    deadline_s: float
    clock: Callable[[], float]
    rng: random.Random
    backoff_s: float = BACKOFF_INITIAL_S

    def left_s(self) -> float:
        """Seconds until the call's time is over; negative after."""
        return self.deadline_s - self.clock()

    def pause_s(self, asked_s: float | None) -> float | None:
        """Seconds to pause before another attempt, None when there is no time for one.

        `asked_s`: what the node asked for; None for the next of growing pauses, with jitter.
        """
        pause_s = self.backoff_s * self.rng.uniform(0.5, 1.0) if asked_s is None else asked_s
        self.backoff_s = min(BACKOFF_MAX_S, 2 * self.backoff_s)
        return None if pause_s >= self.left_s() else pause_s
