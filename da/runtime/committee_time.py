"""The committee's time: what this node's own clock is held against before anything irrevocable is done by it.

The idea: a wall clock may jump; the machine's monotonic clock does not, and members with the stake of a
certificate do not agree on a time that no honest one of them has reached. So the node keeps the latest
moment that was vouched for, and the monotonic clock carries it on. A moment is vouched for by
- a certificate: its signers took the header's timestamp for one that their clocks had reached, give or take
  the skew that members tolerate;
- members with the signing threshold's stake, who are asked while that is not enough: the latest moment that
  all of them have reached by their own clocks. This node counts among them; where it decides alone, with the
  clock that it started with, carried on, so that a jump needs a restart to be believed.

Flow, once an interval and whenever a header is to be made: look at the newest certificates; while the own
clock is ahead of what they vouch for, ask the members, as they answer.

Invariants: the committee's time never runs backwards and, while less than a third of all stake is wrong, is
never ahead of every honest clock by more than the tolerated skew. It may lag: then headers and expiry wait.

Does not: set clocks; refuse what others send (see da.member.ingest).
"""

from __future__ import annotations

import asyncio
import logging

from da.clock import asleep_ms
from da.errors import PeerError
from da.protocol.committee import Committee, Member
from da.runtime.context import NodeContext

log = logging.getLogger("cellar.runtime.time")

_DAY_S, _HOUR_S, _MINUTE_S = 86_400, 3_600, 60


class Timekeeper:
    """Knows the committee's time and how far this node's clock is from it. Times are Unix milliseconds."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._offset_ms: int | None = None  # committee's time minus monotonic time, once there is any
        self._own_offset_ms: int | None = None  # the same of the clock that this node started with
        self._answered = True  # whether enough members told their time when they were asked last
        self._looking = asyncio.Lock()
        self._told: str | None = None  # the kind of complaint that the log has

    async def run(self) -> None:
        """Compare, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(self._context.config.member.follow_interval_s)

    async def look(self) -> None:
        """Learn the committee's time, from the members if need be."""
        context = self._context
        async with self._looking:
            own_offset_ms = context.clock() - _monotonic_ms()
            if self._own_offset_ms is None:
                self._own_offset_ms = own_offset_ms
            for disperser in context.committee.dispersers:
                newest = await context.store.latest(disperser.id, certified=True)
                if newest is not None:
                    self._vouch(newest.header.timestamp_ms - _monotonic_ms())
            if self._plausible() is None:
                alone = _agreed(context.committee, {context.index: 0}) is not None
                self._answered = await self._ask(
                    min(own_offset_ms, self._own_offset_ms) if alone else own_offset_ms
                )
            ahead_ms = self._ahead()
            if ahead_ms is not None:
                context.metrics.clock_ahead_seconds.set(ahead_ms / 1000)
            self._tell()

    async def moment(self) -> int:
        """The time for a header: the own clock's, as soon as that is not ahead of the committee's."""
        while True:
            if (now_ms := self._plausible()) is not None:
                return now_ms
            await self.look()
            if self._plausible() is None:
                await asyncio.sleep(self._context.config.disperser.encode_retry_ms / 1000)

    def past(self) -> int | None:
        """A moment that is over both by the own clock and by the committee's; None: not known yet."""
        if self._offset_ms is None:
            return None
        return min(self._context.clock(), self._offset_ms + _monotonic_ms())

    @property
    def complaint(self) -> str | None:
        """What is wrong with this node's clock, for its operator."""
        kind, ahead_ms = self._judge(), self._ahead() or 0
        if kind == "ahead":
            return (
                f"this node's clock is {_span(ahead_ms)} ahead of the committee's: "
                "nothing expires by it and no header is made until it is set right"
            )
        if kind == "behind":
            return (
                f"this node's clock is {_span(-ahead_ms)} behind the committee's: "
                "what is pushed to this node is refused until it is set right"
            )
        if kind == "unknown":
            return "too few members tell their time to know the committee's: no header is made until they do"
        return None

    def _judge(self) -> str | None:
        ahead_ms, skew_ms = self._ahead(), self._context.config.member.clock_skew_ms_max
        if ahead_ms is not None and abs(ahead_ms) <= skew_ms:
            return None
        if ahead_ms is not None and ahead_ms < 0:
            return "behind"
        if self._answered:
            return None if ahead_ms is None else "ahead"
        # After a silence the certificates lag behind, which is nobody's fault; who makes no header can wait.
        return "unknown" if self._context.config.disperses else None

    def _tell(self) -> None:
        kind = self._judge()
        if kind == self._told:
            return
        self._told = kind
        if (complaint := self.complaint) is not None:
            log.warning("%s", complaint)
        else:
            log.info("this node's clock agrees with the committee again")

    def _ahead(self) -> int | None:
        """How far the own clock is ahead of the committee's time."""
        if self._offset_ms is None:
            return None
        return self._context.clock() - _monotonic_ms() - self._offset_ms

    def _plausible(self) -> int | None:
        """The own clock's time, unless it is ahead of the committee's."""
        if self._offset_ms is None:
            return None
        now_ms = self._context.clock()
        latest_ms = self._offset_ms + _monotonic_ms() + self._context.config.member.clock_skew_ms_max
        return now_ms if now_ms <= latest_ms else None

    def _vouch(self, offset_ms: int) -> None:
        if self._offset_ms is None or offset_ms > self._offset_ms:
            self._offset_ms = offset_ms

    async def _ask(self, own_offset_ms: int) -> bool:
        """Hear members until the own clock is confirmed or all have answered; whether enough did."""
        context = self._context
        offsets = {context.index: own_offset_ms}
        waiting = {asyncio.create_task(self._hear(member)) for member in context.peers}
        try:
            while True:
                agreed_ms = _agreed(context.committee, offsets)
                if agreed_ms is not None:
                    self._vouch(agreed_ms)
                if not waiting or self._plausible() is not None:
                    return agreed_ms is not None
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                offsets.update(heard for task in done if (heard := task.result()) is not None)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _hear(self, member: Member) -> tuple[int, int] | None:
        """The member's place in the committee, and its time less the monotonic one."""
        context = self._context
        try:
            time_ms = await context.transport.get_time(member, context.config.reading.peer_timeout_s)
        except PeerError as error:
            log.debug("no time: %s", error)
            return None
        index = context.committee.member_index(member.id)
        assert index is not None, "peers are of the committee"
        return index, time_ms - _monotonic_ms()


def _agreed(committee: Committee, offsets: dict[int, int]) -> int | None:
    """The latest that members of the signing threshold's stake have all reached."""
    stake = 0
    for index, offset_ms in sorted(offsets.items(), key=lambda item: -item[1]):
        stake += committee.stakes[index]
        if stake * committee.threshold_denominator >= committee.total_stake * committee.threshold_numerator:
            return offset_ms
    return None


def _monotonic_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000) + asleep_ms()


def _span(milliseconds: int) -> str:
    """A length of time in its largest whole unit."""
    seconds = milliseconds // 1000
    for unit, length_s in (("days", _DAY_S), ("hours", _HOUR_S), ("minutes", _MINUTE_S)):
        if seconds >= 2 * length_s:
            return f"{seconds // length_s} {unit}"
    return f"{seconds} seconds"
