"""Retention: dropping what is older than the committee promises to serve, by time buckets.

What is dropped is gone, so a clock that jumped must not decide it: expiry goes by a time that is past for
this node and for the committee (see da.runtime.committee_time). A batch that waits for its certificate is
kept: its height can be given to no other, and the promise to serve it begins with the certificate. Batches of
earlier committees are kept for the longest retention of the chain: a bucket may have those of two.
"""

from __future__ import annotations

import asyncio
import logging

from da.errors import ReadOnly
from da.runtime.committee_time import Timekeeper
from da.runtime.context import NodeContext

log = logging.getLogger("cellar.member.retention")


class Retention:
    """Expires batches."""

    def __init__(self, context: NodeContext, timekeeper: Timekeeper) -> None:
        self._context = context
        self._timekeeper = timekeeper

    async def run(self) -> None:
        """Look once an interval."""
        while True:
            await self.expire()
            await asyncio.sleep(self._context.config.member.retention_interval_s)

    async def expire(self) -> int:
        """Drop what is too old; the number of batches dropped."""
        context = self._context
        await self._timekeeper.update()
        expiry_ms = self._timekeeper.expiry_time()
        if expiry_ms is None:
            return 0
        try:
            retention_s = max(committee.retention_s for committee in context.chain.committees)
            dropped = await context.store.expire(expiry_ms, retention_s * 1000, await self._uncertified())
        except ReadOnly as error:
            log.warning("batches not expired, retrying at the next interval: %s", error)
            return 0
        if dropped:
            log.info("%d batches expired", dropped)
            context.metrics.expired_batches.inc(dropped)
            context.changed.announce()
        return dropped

    async def _uncertified(self) -> frozenset[bytes]:
        """The batches that are the last of their logs and have no certificate yet."""
        context = self._context
        tops = [await context.store.latest(disperser.id) for disperser in context.dispersers]
        return frozenset(top.header.hash for top in tops if top is not None and top.certificate is None)
