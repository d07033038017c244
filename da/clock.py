"""Clocks as parameters: a clock is a function that returns milliseconds since the Unix epoch."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]


def system_clock() -> int:
    """The machine's wall clock, in milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000
