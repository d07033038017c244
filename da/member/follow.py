"""Following the dispersers' logs: how a member learns of batches that no push brought it.

Flow of a round, for each disperser:
- find the height up to which this node knows every certified batch;
- ask the disperser for what comes after; if it cannot be reached, ask the other members;
- ask them too for heights that it leaves out, and for one of which a certificate was seen;
- of each batch verify proposal, contents and certificate, and store it without columns, which the repair
  then gets.

A certified batch may be stored above a gap (older batches may have expired everywhere): its certificate
says that the committee stands behind it, which is more than a parent hash can.

Invariants: only certified batches come in this way, so nothing learnt here is ever attested by this node
before a push asks for it. `fresh()` says whether an unknown thing is unknown for certain: the round began
after the question, and every disperser served its own log to the end. Peers cannot replace that: while a
disperser is away, a certificate may exist that it has shown to a rollup and not yet to them.

Does not: fetch columns, nor get a batch again whose file was lost here (see repair).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from da.errors import DaError, HeaderConflict, NotFound, PeerError, ReadOnly, RejectedCertificate
from da.protocol.certificate import Certificate
from da.protocol.committee import Member
from da.protocol.errors import ProtocolError
from da.runtime.context import NodeContext
from da.runtime.verification import check_batch, check_certificate
from da.store.errors import CorruptBatch
from da.wire.batches import LiveBatch, Page

log = logging.getLogger("cellar.member.follow")

# A source's log is read for this many request timeouts in a round; the next round continues from there.
_TIMEOUTS_PER_READ = 3


class LogFollower:
    """Keeps this node's copy of every disperser's log complete."""

    def __init__(self, context: NodeContext, on_batch: Callable[[bytes], None]) -> None:
        """`on_batch` is called with the hash of each batch that was stored without its columns."""
        self._context = context
        self._on_batch = on_batch
        # All by disperser, and in memory only.
        self._complete: dict[bytes, int] = {}  # all certified batches up to here are known, or skipped
        self._skipped: dict[bytes, tuple[int, float]] = {}  # the lowest skipped height, and when to ask again
        self._shown: dict[bytes, Certificate] = {}  # a certificate that was received, to be verified
        self._certified: dict[bytes, int] = {}  # a certificate of this height was verified
        self._resume_at: dict[bytes, int] = {}  # where a reading of it that took too long continues
        self._troubles: dict[tuple[bytes, bytes], tuple[str, float]] = {}  # by source too: what, since when
        self._ended: set[bytes] = set()  # logs of dispersers that left, read to their ends
        self._own_log_served = False  # whether enough peers have served this node's own log
        self._wanted = asyncio.Event()
        self._round: asyncio.Task[bool] | None = None
        self._next_round: asyncio.Task[bool] | None = None

    def expect(self, certificate: Certificate) -> None:
        """A certificate came, unverified, of a batch that is unknown here: start a round soon.

        One for each log and round is verified; if it is valid, the other members are asked as well until its
        batch is known.
        """
        disperser_id = certificate.header.disperser_id
        if any(disperser.id == disperser_id for disperser in self._context.dispersers):
            self._shown.setdefault(disperser_id, certificate)
            self._wanted.set()

    async def run(self) -> None:
        """A round each interval, or when something is expected."""
        while True:
            await self.fresh()
            try:
                async with asyncio.timeout(self._context.config.member.follow_interval_s):
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
        # In parallel: a slow disperser delays its own log alone.
        dispersers = self._context.dispersers
        results = await asyncio.gather(*(self.sync(disperser) for disperser in dispersers))
        return all(results)

    async def close(self) -> None:
        """End the rounds."""
        for task in (self._round, self._next_round):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def sync(self, disperser: Member) -> bool:
        """Read one log, from the peers if need be; whether its end is certain."""
        context = self._context
        if disperser.id == context.member.id:
            return await self.knows_own_log() or await self.ask_for_own_log()
        if context.committee.member(disperser.id) is None:
            return await self._read_ended_log(disperser)
        if await self._read_log(disperser, disperser) and await self._is_whole(disperser):
            return True
        await asyncio.gather(*(self._read_log(member, disperser) for member in self._others(disperser)))
        return False

    async def _read_ended_log(self, disperser: Member) -> bool:
        """Read the log of a disperser of an earlier committee, which left; whether its end is certain.

        Its batches were certified before the change, so once enough peers have served it nothing is added.
        """
        if disperser.id not in self._ended and await self.ask_peers(disperser):
            self._ended.add(disperser.id)
        return disperser.id in self._ended

    async def knows_own_log(self) -> bool:
        """Whether this node can serve its own log; with an empty store the log may have been lost."""
        return self._own_log_served or await self._context.store.latest(self._context.member.id) is not None

    async def ask_for_own_log(self) -> bool:
        """Read what the peers have of this node's own log; whether it is known now."""
        if not self._own_log_served:
            lost = not await self.knows_own_log()
            self._own_log_served = await self.ask_peers(self._context.member, wait_for_all=lost)
        return await self.knows_own_log()

    def _others(self, disperser: Member) -> list[Member]:
        return [member for member in self._context.peers if member.id != disperser.id]

    async def ask_peers(self, disperser: Member, *, wait_for_all: bool = False) -> bool:
        """Read one log from the members other than its disperser, until a third of all stake has served it.

        A certificate has more stake than the others, so that one of these knows of it. Slow members are not
        waited for, unless `wait_for_all`. Whether that much stake served it, or all did, or there is not that
        much.
        """
        context = self._context
        total = context.committee.total_stake
        others = self._others(disperser)
        stake = sum(member.stake for member in others)
        asked = {asyncio.create_task(self._read_log(member, disperser)): member for member in others}
        waiting, served = set(asked), 0
        try:
            while waiting and (wait_for_all or 3 * served <= total):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                served += sum(asked[task].stake for task in done if task.result())
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        return 3 * served > total or served == stake or 3 * stake <= total

    async def _read_log(self, source: Member, disperser: Member) -> bool:
        """Read the log from where it is complete here; whether `source` answered to its end."""
        context = self._context
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _TIMEOUTS_PER_READ * context.config.reading.peer_timeout_s
        first = await self._first_unknown(disperser.id)
        height: int | None = first
        if source is disperser:
            height = max(first, self._resume_at.pop(disperser.id, 0))
        while height is not None:
            page = await self._read_page(source, disperser, height)
            if page is None:
                return False
            if page.next_height is not None and page.next_height <= height:
                self._log_trouble(source, disperser, "no end", "its pages do not advance")
                return False
            height = page.next_height
            if height is not None and loop.time() > until_s:
                if source is disperser:
                    self._resume_at[disperser.id] = height
                self._log_trouble(
                    source,
                    disperser,
                    "long",
                    "too long for one round, continuing",
                    logging.INFO,
                )
                return False
        self._log_recovery(source, disperser)
        return True

    async def _read_page(self, source: Member, disperser: Member, height: int) -> Page | None:
        """A page of the log, whose batches are stored; None when it cannot be read or stored."""
        context = self._context
        try:
            page = await context.transport.get_batches(
                source,
                disperser.id,
                height,
                context.config.member.follow_page,
                context.config.reading.peer_timeout_s,
            )
            for batch in page.batches:
                if isinstance(batch, LiveBatch):
                    await self._learn(source, disperser, batch)
        except PeerError as error:
            self._log_trouble(source, disperser, type(error).__name__, error.reason, logging.INFO)
            return None
        except ReadOnly as error:
            self._log_trouble(source, disperser, "read-only", f"batch not stored: {error}")
            return None
        except (DaError, ProtocolError) as error:
            self._log_trouble(source, disperser, type(error).__name__, f"invalid batch: {error}")
            return None
        return page

    def _log_trouble(
        self, source: Member, disperser: Member, kind: str, text: str, level: int = logging.WARNING
    ) -> None:
        """Log why a source's log is not read to its end, once for each kind of trouble."""
        key, now_s = (source.id, disperser.id), asyncio.get_running_loop().time()
        before, since_s = self._troubles.get(key, ("", now_s))
        self._troubles[key] = (kind, since_s)
        if kind != before:
            log.log(level, "log of %s, from %s: %s", disperser.name, source.name, text)

    def _log_recovery(self, source: Member, disperser: Member) -> None:
        trouble = self._troubles.pop((source.id, disperser.id), None)
        if trouble is not None:
            seconds = asyncio.get_running_loop().time() - trouble[1]
            log.info(
                "log of %s, from %s: complete again after %.0f s",
                disperser.name, source.name, seconds,
            )  # fmt: skip

    async def _is_whole(self, disperser: Member) -> bool:
        """Whether nothing is missing of a log that its disperser has just served to its end.

        Heights that it leaves out, below ones that are known, are asked for at the other members; only if
        these do not serve them either they are skipped, until the next scrub interval.
        """
        context, loop = self._context, asyncio.get_running_loop()
        missing = await self._first_unknown(disperser.id)
        page = await context.store.batches(disperser.id, missing, 1, certified_only=True)
        if page:
            above = page[0].header.height
            # Batches expire in the order of heights: if the top of a gap has expired, all of it has.
            first = max(missing, above - context.config.member.follow_page)
            others = self._others(disperser)
            pages = await asyncio.gather(*(self._read_page(member, disperser, first) for member in others))
            stake = sum(member.stake for member, page in zip(others, pages, strict=True) if page is not None)
            if 3 * stake <= context.committee.total_stake and None in pages:
                return False
            page = await context.store.batches(disperser.id, first, 1, certified_only=True)
            if page[0].header.height != above:
                return False
            log.info("log of %s: no peer serves heights %d to %d", disperser.name, missing, above - 1)
            again_s = loop.time() + context.config.member.scrub_interval_s
            self._skipped.setdefault(disperser.id, (missing, again_s))
            self._complete[disperser.id] = above - 1
            missing = await self._first_unknown(disperser.id)
        await self._check_shown(disperser, missing)
        return missing > self._certified.get(disperser.id, 0)

    async def _check_shown(self, disperser: Member, missing: int) -> None:
        certificate = self._shown.pop(disperser.id, None)
        if certificate is None or certificate.header.height < missing:
            return
        try:
            await self._context.workers.compute(check_certificate, self._context.chain, certificate)
        except RejectedCertificate as error:
            log.debug("received certificate is invalid: %s", error)
            return
        height = max(certificate.header.height, self._certified.get(disperser.id, 0))
        self._certified[disperser.id] = height

    async def _first_unknown(self, disperser_id: bytes) -> int:
        """The lowest height of which this node has no certified batch, above what is known complete."""
        batches = self._context.store.batches
        missing, again_s = self._skipped.get(disperser_id, (0, float("inf")))
        if asyncio.get_running_loop().time() >= again_s:
            del self._skipped[disperser_id]
            self._complete[disperser_id] = missing - 1
        if disperser_id not in self._complete:
            # Below the first batch that an earlier run knew, everything has expired.
            known = await batches(disperser_id, 1, 1, certified_only=True)
            self._complete[disperser_id] = known[0].header.height - 1 if known else 0
        complete = self._complete[disperser_id]
        limit = self._context.config.member.follow_page
        while True:
            page = await batches(disperser_id, complete + 1, limit, certified_only=True)
            for record in page:
                if record.header.height != complete + 1:
                    return complete + 1
                complete = self._complete[disperser_id] = record.header.height
            if len(page) < limit:
                return complete + 1

    async def _learn(self, source: Member, disperser: Member, batch: LiveBatch) -> None:
        context = self._context
        header, header_hash = batch.header, batch.header.hash
        if header.disperser_id != disperser.id:
            raise RejectedCertificate("the batch belongs to another log than the one asked for")
        if context.chain.by_hash(header.committee_hash) is None:
            return  # of a committee before or after those that are known here
        if batch.certificate is None:
            raise RejectedCertificate("the batch has no certificate")
        if await self._is_certified(header_hash):
            return
        proposal = await context.workers.compute(check_batch, context.chain, batch)
        async with context.log_lock(disperser.id):
            known = await context.store.at_height(disperser.id, header.height)
            new = known is None or (known == header_hash and not await self._readable(header_hash))
            if new:
                await context.store.put_batch(proposal)
                log.info("learnt height %d of %s from %s", header.height, disperser.name, source.name)
            elif known is not None and known != header_hash:
                log.error(
                    "equivocation of %s at height %d: %s is certified, known is %s",
                    disperser.name, header.height, header_hash.hex(), known.hex(),
                )  # fmt: skip
                raise HeaderConflict(known)
            await context.store.put_certificate(header_hash, batch.certificate.encode())
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
