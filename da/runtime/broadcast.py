"""A broadcast: one event that any number of tasks wait on, and that no change can slip past."""

from __future__ import annotations

import asyncio


class Broadcast:
    """Wakes everybody who waits. Take `ticket()` before looking at the state, then wait on it:
    a change between the look and the wait is never missed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ticket(self) -> asyncio.Event:
        """The event that the next `announce()` sets."""
        return self._event

    def announce(self) -> None:
        """Wake all holders of tickets."""
        self._event.set()
        self._event = asyncio.Event()
