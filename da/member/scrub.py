"""Scrub: reading everything again, slowly, to find what the disk forgot.

Flow of a pass: batch after batch of every log, check each byte of its file against its checksums and its
columns against what this node should hold. What is damaged or missing is handed to the repair, and batches
that are lost as a whole to the follower, which learns them again. Between two batches the pass rests, so
that it never competes with serving.

Does not: repair (see repair), nor look at expired batches.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from da.errors import NotFound
from da.store.errors import CorruptBatch

if TYPE_CHECKING:
    from da.member.follow import LogFollower
    from da.member.repair import Repair
    from da.node.context import NodeContext
    from da.store.base import BatchRecord, ScrubFinding

log = logging.getLogger("da.scrub")


class Scrub:
    """Finds damage."""

    def __init__(self, context: NodeContext, repair: Repair, follower: LogFollower) -> None:
        self._context = context
        self._repair = repair
        self._follower = follower

    async def run(self) -> None:
        """One quick pass for missing columns at the start, then full passes, one an interval."""
        await self.sweep(read_all=False)
        while True:
            await asyncio.sleep(self._context.config.scrub_interval_s)
            await self.sweep(read_all=True)

    async def sweep(self, *, read_all: bool) -> int:
        """Visit every live batch; the number of batches handed to the repair."""
        context, handed = self._context, 0
        for disperser in context.committee.dispersers:
            height = 1
            while page := await context.store.batches(disperser.id, height, context.config.follow_page):
                for record in page:
                    if record.state == "missing":
                        self._follower.doubt()
                    elif record.state == "live":
                        handed += await self._visit(record, read_all=read_all)
                height = page[-1].header.height + 1
        return handed

    async def _visit(self, record: BatchRecord, *, read_all: bool) -> bool:
        header_hash = record.header.hash
        damaged: set[int] = set()
        if read_all:
            for finding in await self._findings(header_hash):
                log.warning("scrub: %s in %s: %s", finding.kind, finding.path, finding.detail)
                if finding.kind in ("head", "missing"):
                    self._follower.doubt()
                elif finding.kind == "record" and finding.column is not None:
                    damaged.add(finding.column)
                    self._context.metrics.corrupt_records.inc()
            await asyncio.sleep(self._context.config.scrub_rest_s)
        if damaged or not set(self._repair.should_hold(record)) <= set(record.columns):
            self._repair.request(header_hash, damaged)
            return True
        return False

    async def _findings(self, header_hash: bytes) -> list[ScrubFinding]:
        store = self._context.store
        try:
            return await store.call(lambda: list(store.sync.scrub(header_hash)))
        except (CorruptBatch, NotFound) as error:
            log.warning("scrub: %s", error)
            self._follower.doubt()
            return []
