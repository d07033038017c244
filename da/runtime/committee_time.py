"""The committee's time: this node's own clock is checked against it before anything irrevocable is done.

The idea: a wall clock may jump; the machine's monotonic clock does not, and members with the stake of a
certificate do not agree on a time that no honest one of them has reached. So the node keeps the latest time
that was confirmed, and advances it by the monotonic clock. A time is confirmed by
- a certificate: by its signers' clocks the header's timestamp was past, within the skew that they tolerate;
- members with the signing threshold's stake, who are asked while that is not enough: the latest time that all
  of them have reached by their own clocks. This node counts among them; where it decides alone, by the clock
  that it started with, advanced, so that a jump is accepted only after a restart.

Flow, once an interval and before a header is made: read the newest certificates; while the own clock is ahead
of what they confirm, ask the members.

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
        self._answered = True  # whether enough members answered when they were asked last
        self._updating = asyncio.Lock()
        self._logged: str | None = None  # the kind of complaint that was logged last

    async def run(self) -> None:
        """Compare, until cancelled."""
        while True:
            await self.update()
            await asyncio.sleep(self._context.config.member.follow_interval_s)

    async def update(self) -> None:
        """Read the committee's time from the certificates, and ask the members if that is not enough."""
        context = self._context
        async with self._updating:
            own_offset_ms = context.clock() - _monotonic_ms()
            if self._own_offset_ms is None:
                self._own_offset_ms = own_offset_ms
            for disperser in context.committee.dispersers:
                newest = await context.store.latest(disperser.id, certified=True)
                if newest is not None:
                    self._confirm(newest.header.timestamp_ms - _monotonic_ms())
            if self._plausible() is None:
                alone = _agreed(context.committee, {context.index: 0}) is not None
                self._answered = await self._query_members(
                    min(own_offset_ms, self._own_offset_ms) if alone else own_offset_ms
                )
            ahead_ms = self._ahead()
            if ahead_ms is not None:
                context.metrics.clock_ahead_seconds.set(ahead_ms / 1000)
            self._log_change()

    async def header_time(self) -> int:
        """The time for a header: the own clock's, as soon as that is not ahead of the committee's."""
        while True:
            if (now_ms := self._plausible()) is not None:
                return now_ms
            await self.update()
            if self._plausible() is None:
                await asyncio.sleep(self._context.config.disperser.encode_retry_ms / 1000)

    def expiry_time(self) -> int | None:
        """The time to expire by: past both by the own clock and by the committee's; None: not known yet."""
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
                "nothing expires by it and no header is made until it is corrected (NTP)"
            )
        if kind == "behind":
            return (
                f"this node's clock is {_span(-ahead_ms)} behind the committee's: "
                "pushes to this node are refused until it is corrected (NTP)"
            )
        if kind == "unknown":
            return "too few members report their time: no header is made until the committee's time is known"
        return None

    def _judge(self) -> str | None:
        ahead_ms, skew_ms = self._ahead(), self._context.config.member.clock_skew_ms_max
        if ahead_ms is not None and abs(ahead_ms) <= skew_ms:
            return None
        if ahead_ms is not None and ahead_ms < 0:
            return "behind"
        if self._answered:
            return None if ahead_ms is None else "ahead"
        # Without recent batches the certificates lag, which is no fault; only a disperser needs to know more.
        return "unknown" if self._context.config.disperses else None

    def _log_change(self) -> None:
        kind = self._judge()
        if kind == self._logged:
            return
        self._logged = kind
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

    def _confirm(self, offset_ms: int) -> None:
        if self._offset_ms is None or offset_ms > self._offset_ms:
            self._offset_ms = offset_ms

    async def _query_members(self, own_offset_ms: int) -> bool:
        """Ask members until the own clock is confirmed or all have answered; whether enough did."""
        context = self._context
        offsets = {context.index: own_offset_ms}
        waiting = {asyncio.create_task(self._query(member)) for member in context.peers}
        try:
            while True:
                agreed_ms = _agreed(context.committee, offsets)
                if agreed_ms is not None:
                    self._confirm(agreed_ms)
                if not waiting or self._plausible() is not None:
                    return agreed_ms is not None
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                offsets.update(answer for task in done if (answer := task.result()) is not None)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _query(self, member: Member) -> tuple[int, int] | None:
        """The member's place in the committee, and its time less the monotonic one."""
        context = self._context
        try:
            time_ms = await context.transport.get_time(member, context.config.reading.peer_timeout_s)
        except PeerError as error:
            log.debug("time not reported: %s", error)
            return None
        index = context.committee.member_index(member.id)
        assert index is not None, "peers are of the committee"
        return index, time_ms - _monotonic_ms()


def _agreed(committee: Committee, offsets: dict[int, int]) -> int | None:
    """The latest offset that members of the signing threshold's stake have all reached."""
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
