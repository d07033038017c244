"""One run against members: requests, answers, verification; what is asked for is the subclass's.

Flow:
- Each item is requested from a member that the sampler chooses; all items requested from one member go in one
  request over that member's own connection.
- A request that is not answered is repeated after a backoff with jitter; meanwhile the next member is tried.
- Once nothing is in flight, all samples that arrived are verified in one batch. If that fails, the wrong ones
  are found by bisection, their senders accused, and the items requested elsewhere.
- At the deadline the run stops: samples that arrived are verified, the other items stay open.

Invariants: a sample counts only after it was verified against the certified commitments; every wait is
bounded by the deadline.

Does not: find or verify the batch (lookup.py), interpret answers (sampling.asking), or choose the engine
(cli.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

import numpy as np

from da.protocol.push import RECORD_BYTES
from erasure.constants import BYTES_PER_CELL
from kzg.engine import Verifier
from kzg.errors import InvalidCell, InvalidPoint
from kzg.types import Bytes, IndexArray
from kzg.verification import find_invalid, verify_matrix_cells
from light_client.batch import VerifiedBatch
from light_client.errors import PeerExpired, PeerMisbehaved, PeerUnknown, PeerUnreachable, UnverifiedBatch
from light_client.peers import MemberClient, Members, SampleAnswer
from light_client.settings import LightClientSettings
from light_client.witness import Fault, Witness
from sampling import Answer, Request
from sampling.asking import Asking

T = TypeVar("T")
Pause = Callable[[float], Awaitable[object]]

WRONG = "does not verify at its position against the certified commitments"


@dataclass(frozen=True, slots=True)
class _Reply:
    """The result of one request: one answer for each of its items."""

    request: Request
    answers: list[SampleAnswer]
    reason: str


@dataclass(frozen=True, slots=True)
class Parts(Generic[T]):
    """What a run is made of.

    batch: verified. sampler: what to ask for. rng: jitter. pause: waits for a number of seconds. on_change:
    called whenever the state of an item may have changed.
    """

    batch: VerifiedBatch
    sampler: Asking[T]
    members: Members
    witness: Witness
    settings: LightClientSettings
    verifier: Verifier
    rng: Random
    pause: Pause
    on_change: Callable[[], None]


class AskingRun(ABC, Generic[T]):
    """Asks members for samples of one batch."""

    def __init__(self, parts: Parts[T]) -> None:
        self.batch = parts.batch
        self.sampler = parts.sampler
        self.records: dict[int, bytes] = {}
        """By position, what arrived; of valid items, what was verified."""
        self._members = parts.members
        self._witness = parts.witness
        self._settings = parts.settings
        self._verifier = parts.verifier
        self._rng = parts.rng
        self._pause = parts.pause
        self._on_change = parts.on_change
        self._retry_after_s: dict[int, float] = {}

    @abstractmethod
    async def _request(
        self, member: MemberClient, items: Sequence[T], timeout_s: float
    ) -> list[SampleAnswer]:
        """What a member has of these items, in order. Raises PeerError."""

    @abstractmethod
    def _places(self, items: Sequence[T]) -> tuple[Bytes, IndexArray, IndexArray]:
        """What the samples of these items are verified against: commitments u8[R,48], rows, columns.

        Runs in a thread. Raises InvalidPoint: a certified commitment is not one.
        """

    @abstractmethod
    def _accuse(self, member: int, item: T, record: bytes) -> None:
        """Report a member that sent an invalid sample."""

    async def run(self, deadline_s: float) -> None:
        """Request and verify samples until the sampler is finished, or for `deadline_s` seconds.

        Raises:
            UnverifiedBatch: a commitment that the committee certified is not a point of the group.
            StateError: evidence could not be written.
        """
        tasks: set[asyncio.Task[_Reply]] = set()
        try:
            with contextlib.suppress(TimeoutError):  # open items are given up below
                async with asyncio.timeout(deadline_s):
                    await self._until_finished(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.sampler.give_up()
        await self._verify_arrived()
        self._on_change()

    async def _until_finished(self, tasks: set[asyncio.Task[_Reply]]) -> None:
        while not self.sampler.finished:
            tasks.update(asyncio.create_task(self._ask(request)) for request in self.sampler.requests())
            self._on_change()
            if not tasks:
                await self._verify_arrived()
                continue
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            tasks -= done
            for task in done:
                self._take(task.result())
            self._on_change()

    # --- requests --------------------------------------------------------------------------------------

    async def _ask(self, request: Request) -> _Reply:
        """Request items from one member, after the backoff for its number of attempts."""
        member = self._members[request.member]
        if request.attempt:
            await self._pause(self._backoff(request))
        items = [self.sampler.items[position] for position in request.positions]
        timeout_s = self._settings.answer_timeout_s * 2**request.attempt
        reason = ""
        try:
            answers = await self._request(member, items, timeout_s)
        except PeerUnreachable as error:
            self._retry_after_s[member.index] = error.retry_after_s
            self._witness.note_silence(member.index, error.reason)
            answers, reason = [Answer.UNREACHABLE] * len(items), error.reason
        except PeerUnknown as error:
            answers, reason = [Answer.NOT_HELD] * len(items), error.reason
        except PeerExpired as error:
            answers, reason = [Answer.EXPIRED] * len(items), error.reason
        except PeerMisbehaved as error:
            self._witness.accuse(member.index, Fault.MALFORMED_ANSWER, error.reason, error.sent)
            answers, reason = [Answer.INVALID] * len(items), error.reason
        return _Reply(request, answers, reason)

    def _backoff(self, request: Request) -> float:
        """Seconds before the next attempt: doubling, within a limit, full jitter in the upper half."""
        settings = self._settings
        exponential = settings.backoff_initial_s * float(2 ** (request.attempt - 1))
        asked_for = self._retry_after_s.get(request.member, 0.0)
        longest = min(max(exponential, asked_for), settings.backoff_max_s)
        return longest * self._rng.uniform(0.5, 1.0)

    def _take(self, reply: _Reply) -> None:
        """Pass the result of a request to the sampler."""
        member = reply.request.member
        for position, answer in zip(reply.request.positions, reply.answers, strict=True):
            if isinstance(answer, bytes):
                assert len(answer) == RECORD_BYTES
                self.records[position] = answer
                self.sampler.received(position, member)
            else:
                self.sampler.answered(position, member, answer, reply.reason or answer.replace("-", " "))

    # --- verification -----------------------------------------------------------------------------------

    async def _verify_arrived(self) -> None:
        """Verify all waiting samples as one batch; accuse the senders of invalid ones."""
        positions = self.sampler.to_verify()
        if not positions:
            return
        wrong = await asyncio.to_thread(self._find_wrong, positions)
        self.sampler.verified([position for position in positions if position not in wrong])
        for position in sorted(wrong):
            sender = self.sampler.sender(position)
            assert sender is not None
            self._accuse(sender, self.sampler.items[position], self.records[position])
            del self.records[position]
            self.sampler.invalid(position, WRONG)
        self._on_change()

    def _find_wrong(self, positions: Sequence[int]) -> set[int]:
        """Positions of the invalid samples; empty if all are valid."""
        joined = np.frombuffer(b"".join(self.records[p] for p in positions), dtype=np.uint8)
        records = joined.reshape(len(positions), RECORD_BYTES)
        cells = np.ascontiguousarray(records[:, :BYTES_PER_CELL])
        proofs = np.ascontiguousarray(records[:, BYTES_PER_CELL:])
        try:
            places = self._places([self.sampler.items[p] for p in positions])
            if verify_matrix_cells(self._verifier, *places, cells, proofs):
                return set()
        except (InvalidCell, InvalidPoint) as error:
            # A cell that is not canonical, or a proof that is not a point: find_invalid finds it. A
            # commitment that is not a point is the fault of the committee that signed it, not of one member.
            if isinstance(error, InvalidPoint) and error.name != "proof":
                raise UnverifiedBatch("commitments", str(error)) from None
        return {positions[index] for index in find_invalid(self._verifier, *places, cells, proofs)}
