"""Hedged requests: the next peer is asked when the one before does not answer in time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import TypeVar

T = TypeVar("T")


async def first_answer(
    requests: Iterable[Callable[[], Coroutine[None, None, T | None]]], hedge_s: float
) -> T | None:
    """The first answer that is not None, or None when there is none left to ask.

    Each next request begins after `hedge_s`, or at once when all that began have returned None. Those still
    running when the answer comes are cancelled.
    """
    left = deque(requests)
    waiting: set[asyncio.Task[T | None]] = set()
    try:
        while left or waiting:
            if left:
                waiting.add(asyncio.create_task(left.popleft()()))
            timeout_s = hedge_s if left else None
            done, waiting = await asyncio.wait(
                waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if (answer := task.result()) is not None:
                    return answer
        return None
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
