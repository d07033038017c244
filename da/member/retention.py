"""Retention: dropping what is older than the committee promises to serve, a time bucket at once."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from da.errors import ReadOnly

if TYPE_CHECKING:
    from da.node.context import NodeContext

log = logging.getLogger("da.retention")


class Retention:
    """Expires batches by the clock of the node."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context

    async def run(self) -> None:
        """Look once an interval."""
        while True:
            await self.expire()
            await asyncio.sleep(self._context.config.retention_interval_s)

    async def expire(self) -> int:
        """Drop what is too old; the number of batches dropped."""
        context = self._context
        try:
            dropped = await context.store.call(
                context.store.sync.expire, context.clock(), context.committee.retention_s * 1000
            )
        except ReadOnly as error:
            log.warning("expiry is tried again at the next interval: %s", error)
            return 0
        if dropped:
            log.info("%d batches expired", dropped)
            context.metrics.expired_batches.inc(dropped)
            context.changed.announce()
        return dropped
