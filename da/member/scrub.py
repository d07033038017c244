"""Scrub: reading everything again, slowly, to find what the disk lost.

Flow of a pass: batch after batch of every log, check each byte of its file and certificate against their
checksums and its columns against what this node should hold. All that is damaged or missing is handed to the
repair. Between two batches the pass rests, so that it never competes with serving. A quick pass, of what the
index and the files' heads show, comes at the start, and whenever a read finds a batch that cannot be read.

An index that a call finds damaged is rebuilt from the files, while reads of other batches go on.

Does not: repair (see repair), nor look at expired batches.
"""

from __future__ import annotations

import asyncio
import logging

from da.errors import Expired, NotFound
from da.member.repair import Repair
from da.runtime.context import NodeContext
from da.runtime.retry import retry_while_full
from da.store.base import BatchRecord, ScrubFinding

log = logging.getLogger("cellar.member.scrub")


class Scrub:
    """Finds damage."""

    def __init__(self, context: NodeContext, repair: Repair) -> None:
        self._context = context
        self._repair = repair
        self._suspected = asyncio.Event()
        self._index_suspected = asyncio.Event()

    def report_record(self, header_hash: bytes, column: int) -> None:
        """A read found a record whose checksum fails: have its column repaired."""
        self._context.metrics.corrupt_records.inc()
        self._repair.request(header_hash, {column})

    def suspect(self, header_hash: bytes) -> None:
        """A read found a batch that cannot be read: look soon which are so."""
        if not self._repair.knows_lost(header_hash):
            self._suspected.set()

    def suspect_index(self) -> None:
        """A call found an index that cannot be trusted: have it rebuilt."""
        self._index_suspected.set()

    @property
    def rebuilding_index(self) -> bool:
        """Whether the index cannot be trusted and is being rebuilt."""
        return self._index_suspected.is_set()

    async def rebuild_index(self) -> None:
        """Rebuild the index from the files whenever it is suspect, with a rest after it."""
        context = self._context
        rest_s = context.config.member.repair_retry_s
        while True:
            await self._index_suspected.wait()
            log.error("the index is damaged: rebuilding it from the files")
            await retry_while_full("the index", rest_s, context.store.rebuild_index)
            self._index_suspected.clear()
            log.warning("the index is rebuilt")
            self._suspected.set()
            context.changed.announce()
            await asyncio.sleep(rest_s)

    async def run(self) -> None:
        """A quick pass at the start and when a batch is suspect, full ones at their interval."""
        loop = asyncio.get_running_loop()
        await self.sweep(read_all=False)
        due = loop.time() + self._context.config.member.scrub_interval_s
        while True:
            try:
                async with asyncio.timeout_at(due):
                    await self._suspected.wait()
                self._suspected.clear()
                await self.sweep(read_all=False)
            except TimeoutError:
                await self.sweep(read_all=True)
                due = loop.time() + self._context.config.member.scrub_interval_s

    async def sweep(self, *, read_all: bool) -> int:
        """Visit every live batch; the number of batches handed to the repair."""
        context, handed = self._context, 0
        for disperser in context.dispersers:
            height = 1
            while page := await context.store.batches(
                disperser.id, height, context.config.member.follow_page
            ):
                for record in page:
                    if record.state == "missing":
                        self._repair.request_lost(record.header)
                        handed += 1
                    elif record.state == "live":
                        handed += await self._visit(record, read_all=read_all)
                height = page[-1].header.height + 1
        return handed

    async def _visit(self, record: BatchRecord, *, read_all: bool) -> bool:
        damaged: set[int] = set()
        lost = False
        if read_all:
            for finding in await self._findings(record):
                log.warning("scrub: %s in %s: %s", finding.kind, finding.path, finding.detail)
                if finding.kind == "record" and finding.column is not None:
                    damaged.add(finding.column)
                    self._context.metrics.corrupt_records.inc()
                elif finding.kind in ("head", "missing", "certificate"):
                    lost = True
                    if finding.kind == "head":
                        # A file of a wrong length has a head that can be read: putting a column again
                        # rewrites the file.
                        damaged.update(record.columns[:1])
            await asyncio.sleep(self._context.config.member.scrub_rest_s)
        if lost:
            self._repair.request_lost(record.header, damaged)
        elif damaged or not set(self._repair.should_hold(record)) <= set(record.columns):
            self._repair.request(record.header.hash, damaged)
        else:
            return False
        return True

    async def _findings(self, record: BatchRecord) -> list[ScrubFinding]:
        try:
            return await self._context.store.scrub(record.header.hash)
        except (NotFound, Expired):
            return []  # it has left since the page was read, or its loss is in the next one
