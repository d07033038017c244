"""Following the dispersers' logs: how a member learns of batches that no push brought it.

Flow of a round, for each disperser:
- find the height up to which this node knows every certified batch;
- ask the disperser for what comes after; if it cannot be reached, ask the other members;
- of each batch verify proposal, contents and certificate, and store it without columns, which the repair
  then gets.

A certified batch may be stored above a gap (older batches may have expired everywhere): its certificate
says that the committee stands behind it, which is more than a parent hash can.

Invariants: only certified batches come in this way, so nothing learnt here is ever attested by this node
before a push asks for it. `fresh()` tells whether an unknown thing is unknown for certain: the round began
after the question, and every disperser told its own log to the end. Peers cannot stand in for that: while
a disperser is away, a certificate may exist that it has shown to a rollup and not yet to them.

Does not: fetch columns, nor get a batch again whose file was lost here (see repair).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from da.errors import DaError, HeaderConflict, NotFound, PeerError, ReadOnly, RejectedCertificate
from da.member.verification import check_batch
from da.protocol.errors import ProtocolError
from da.store.errors import CorruptBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from da.node.context import NodeContext
    from da.protocol.committee import Member
    from da.transport import BatchPage, RemoteBatch

log = logging.getLogger("da.follow")

# One source's log is read for so many request timeouts in a round; the next round goes on from there.
_TIMEOUTS_PER_READ = 3


class LogFollower:
    """Keeps this node's copy of every disperser's log complete."""

    def __init__(self, context: NodeContext, on_batch: Callable[[bytes], None]) -> None:
        """`on_batch` is told the hash of each batch that was stored without its columns."""
        self._context = context
        self._on_batch = on_batch
        self._complete: dict[bytes, int] = {}  # disperser -> all certified batches up to here are known
        self._wanted = asyncio.Event()
        self._round: asyncio.Task[bool] | None = None
        self._next_round: asyncio.Task[bool] | None = None

    def kick(self) -> None:
        """Have a round soon."""
        self._wanted.set()

    async def run(self) -> None:
        """A round each interval, or when kicked."""
        while True:
            await self.fresh()
            try:
                async with asyncio.timeout(self._context.config.follow_interval_s):
                    await self._wanted.wait()
            except TimeoutError:
                continue
            finally:
                self._wanted.clear()

    async def fresh(self) -> bool:
        """Wait for a round that begins after this call; whether all logs are known to their ends."""
        if self._next_round is None:
            self._next_round = asyncio.create_task(self._after(self._round))
        return await asyncio.shield(self._next_round)

    async def _after(self, before: asyncio.Task[bool] | None) -> bool:
        if before is not None:
            await asyncio.wait([before])
        self._round, self._next_round = asyncio.current_task(), None
        # At once: a disperser that dawdles holds up nobody's log but its own.
        dispersers = self._context.committee.dispersers
        results = await asyncio.gather(*(self.sync(disperser) for disperser in dispersers))
        return all(results)

    async def close(self) -> None:
        """End the rounds."""
        for task in (self._round, self._next_round):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def sync(self, disperser: Member) -> bool:
        """Learn one log, from the peers if need be; whether its end is certain."""
        context = self._context
        if disperser.id != context.member.id:
            if await self._read_log(disperser, disperser):
                return True
        elif await context.store.latest(disperser.id) is not None:
            return True  # this node's own log: only after the loss of its store do others know better
        peers = [member for member in context.peers if member.id != disperser.id]
        await asyncio.gather(*(self._read_log(member, disperser) for member in peers))
        return disperser.id == context.member.id

    async def ask_peers(self, disperser: Member) -> None:
        """Learn one log from others than its disperser, until a third of all stake or everybody was asked.

        Whatever is certified was signed for by more than the others. Slow ones are not waited for.
        """
        context = self._context
        peers = [member for member in context.peers if member.id != disperser.id]
        asked = {asyncio.create_task(self._read_log(member, disperser)): member for member in peers}
        waiting, told = set(asked), 0
        try:
            while waiting and 3 * told <= context.committee.total_stake:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                told += sum(asked[task].stake for task in done if task.result())
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _read_log(self, source: Member, disperser: Member) -> bool:
        """Read the log from where it is complete here; whether `source` answered to its end."""
        context = self._context
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _TIMEOUTS_PER_READ * context.config.peer_timeout_s
        height: int | None = await self._first_unknown(disperser.id)
        while height is not None:
            try:
                page = await context.transport.get_batches(
                    source, disperser.id, height, context.config.follow_page, context.config.peer_timeout_s
                )
                for batch in page.batches:
                    await self._learn(source, disperser, batch)
                if source is disperser:
                    self._pass_gap(disperser.id, height, page)
            except PeerError as error:
                log.info("log of %s: %s", disperser.name, error)
                return False
            except ReadOnly as error:
                log.warning("log of %s: nothing can be stored: %s", disperser.name, error)
                return False
            except (DaError, ProtocolError) as error:
                log.warning("log of %s: %s told something wrong: %s", disperser.name, source.name, error)
                return False
            if page.next_height is not None and page.next_height <= height:
                log.warning("log of %s: %s does not get ahead", disperser.name, source.name)
                return False
            height = page.next_height
            if height is not None and loop.time() > until_s:
                log.info("log of %s: %s has more than can be read in a round", disperser.name, source.name)
                return False
        return True

    def _pass_gap(self, disperser_id: bytes, height: int, page: BatchPage) -> None:
        """Heights that the disperser itself has nothing live at are not asked for again in every round."""
        first = page.batches[0].header.height if page.batches else page.next_height
        if first is not None and first > height and self._complete.get(disperser_id, 0) < height:
            self._complete[disperser_id] = first - 1

    async def _first_unknown(self, disperser_id: bytes) -> int:
        """The lowest height of which this node has no certified batch, above what is known complete."""
        complete = self._complete.get(disperser_id, 0)
        limit = self._context.config.follow_page
        while True:
            page = await self._context.store.batches(disperser_id, complete + 1, limit, certified_only=True)
            for record in page:
                # Below the first batch ever known here nothing is missed: it has expired.
                if record.header.height != complete + 1 and complete:
                    return complete + 1
                complete = self._complete[disperser_id] = record.header.height
            if len(page) < limit:
                return complete + 1

    async def _learn(self, source: Member, disperser: Member, batch: RemoteBatch) -> None:
        context = self._context
        header, header_hash = batch.header, batch.header.hash
        if header.disperser_id != disperser.id:
            raise RejectedCertificate("the batch is of another log than asked for")
        if header.committee_hash != context.committee.hash:
            return  # of another epoch: this committee cannot vouch for it
        if batch.certificate is None:
            raise RejectedCertificate("the batch has no certificate")
        if await self._is_certified(header_hash):
            return
        await context.workers.compute(check_batch, context.committee, batch)
        async with context.log_lock(disperser.id):
            known = await context.store.at_height(disperser.id, header.height)
            new = known is None or (known == header_hash and not await self._readable(header_hash))
            if new:
                await context.store.put_batch(
                    header, batch.disperser_signature, batch.payload_list, batch.commitments
                )
                log.info("learnt height %d of %s from %s", header.height, disperser.name, source.name)
            elif known is not None and known != header_hash:
                log.error(
                    "equivocation of %s at height %d: %s is certified, known is %s",
                    disperser.name, header.height, header_hash.hex(), known.hex(),
                )  # fmt: skip
                raise HeaderConflict(known)
            await context.store.put_certificate(header_hash, batch.certificate)
        context.changed.announce()
        if new:
            self._on_batch(header_hash)

    async def _is_certified(self, header_hash: bytes) -> bool:
        try:
            return (await self._context.store.any_batch(header_hash)).certificate is not None
        except (NotFound, CorruptBatch):
            return False

    async def _readable(self, header_hash: bytes) -> bool:
        """Whether a batch that was stored is still served, or has expired."""
        try:
            await self._context.store.any_batch(header_hash)
        except (NotFound, CorruptBatch):
            return False
        return True
