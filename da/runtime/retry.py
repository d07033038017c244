"""Steps that are repeated until they succeed: writes to a full disk, signatures of a signer that is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from da.errors import ReadOnly, SignerUnavailable
from da.store.errors import StoreReadOnly

T = TypeVar("T")

log = logging.getLogger("cellar.runtime.retry")


async def retry_while_full(what: str, pause_s: float, write: Callable[[], Awaitable[T]]) -> T:
    """The result of a write, repeated every `pause_s` seconds while the disk is full or read-only.

    Args:
        what: the write's subject, which begins the log lines ("height 7").
    """
    return await _retry(f"{what} not written", pause_s, write, (ReadOnly, StoreReadOnly))


async def retry_until_signed(what: str, pause_s: float, sign: Callable[[], Awaitable[T]]) -> T:
    """A signature, asked for every `pause_s` seconds while the signer is unavailable.

    Args:
        what: the subject of what is signed, which begins the log lines ("height 7").
    """
    return await _retry(f"{what} not signed", pause_s, sign, (SignerUnavailable,))


async def _retry(
    failure: str, pause_s: float, step: Callable[[], Awaitable[T]], errors: tuple[type[Exception], ...]
) -> T:
    attempt = 0
    while True:
        try:
            return await step()
        except errors as error:
            attempt += 1
            rare = attempt & (attempt - 1) == 0  # a failure that lasts is logged less and less often
            log.log(logging.WARNING if rare else logging.DEBUG, "%s, retrying: %s", failure, error)
        await asyncio.sleep(pause_s)
