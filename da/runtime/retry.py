"""Writes that are repeated while the disk is full or read-only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from da.errors import ReadOnly
from da.store.errors import StoreReadOnly

T = TypeVar("T")

log = logging.getLogger("cellar.node")


async def retry_while_full(what: str, pause_s: float, write: Callable[[], Awaitable[T]]) -> T:
    """The result of a write, repeated every `pause_s` seconds while the disk is full or read-only.

    Args:
        what: the write's subject, which begins the log lines ("height 7").
    """
    attempt = 0
    while True:
        try:
            return await write()
        except (ReadOnly, StoreReadOnly) as error:
            attempt += 1
            rare = attempt & (attempt - 1) == 0  # a disk that stays full is logged ever more rarely
            log.log(logging.WARNING if rare else logging.DEBUG, "%s not written, retrying: %s", what, error)
        await asyncio.sleep(pause_s)
