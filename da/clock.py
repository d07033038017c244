"""Clocks as parameters: a clock is a function that returns milliseconds since the Unix epoch."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]


def asleep_ms() -> int:
    """How long the machine has been suspended since it was booted, which its monotonic clock does not count.

    0 where the system does not report it, as on systems whose monotonic clock counts it.
    """
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0
    return (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()) // 1_000_000


def system_clock() -> int:
    """The machine's wall clock, in milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000
