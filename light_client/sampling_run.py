"""One sampling run: from a verified batch to a verdict.

Flow:
- The coordinates are taken from the log, or drawn and made durable there, before anything else.
- For each cell one of its column's holders is asked, at random; all cells that one member is asked for go in
  one request over that member's own connection.
- A member that does not answer is asked again after a backoff with jitter, and meanwhile the next holder is.
- Once nothing is in flight, all cells that arrived are verified in one batch. If that fails, the wrong ones
  are found by bisection, their senders accused, and the cells asked elsewhere.
- At the deadline the run gives up: what arrived is verified, the rest stays open.

Invariants: a cell counts only after `verify_matrix_cells` said so against the certified commitments; the
coordinates of a batch are never redrawn; every wait is bounded by the deadline.

Does not: find or verify the batch (lookup.py), nor decide what answers mean (sampling.sampler), nor choose
the engine that verifies (cli.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

import numpy as np

from da.protocol.custody import holders_of
from da.protocol.push import RECORD_BYTES
from erasure.constants import BYTES_PER_CELL
from kzg.engine import Engine
from kzg.errors import InvalidCell, InvalidPoint
from kzg.verification import find_invalid, verify_matrix_cells
from light_client.batch import VerifiedBatch
from light_client.errors import PeerExpired, PeerMisbehaved, PeerUnknown, PeerUnreachable, UnverifiedBatch
from light_client.peers import CellAnswer, Members
from light_client.settings import LightClientSettings
from light_client.witness import Fault, Witness
from sampling import Answer, Coordinates, Request, Sampler

Pause = Callable[[float], Awaitable[object]]
OnChange = Callable[[Sampler], None]

_WRONG = "does not verify at its position against the certified commitments"


@dataclass(frozen=True, slots=True)
class _Reply:
    """What came of one request: one answer for each of its cells."""

    request: Request
    answers: list[CellAnswer]
    reason: str


class SamplingRun:
    """Samples one batch.

    Args:
        batch: verified.
        cells: its coordinates, durable already.
        members, witness, settings: of the run.
        engine: verifies the cells.
        rng: order of holders, and jitter.
        retention_over: whether the members may have dropped the batch rightly.
        pause: waits for a number of seconds.
        on_change: called whenever a cell's state may have changed.
    """

    def __init__(
        self,
        batch: VerifiedBatch,
        cells: tuple[Coordinates, ...],
        members: Members,
        witness: Witness,
        settings: LightClientSettings,
        engine: Engine,
        rng: Random,
        *,
        retention_over: bool = False,
        pause: Pause = asyncio.sleep,
        on_change: OnChange = lambda sampler: None,
    ) -> None:
        self.batch = batch
        self._members = members
        self._witness = witness
        self._settings = settings
        self._engine = engine
        self._rng = rng
        self._pause = pause
        self._on_change = on_change
        self._records: dict[int, bytes] = {}
        self._retry_after_s: dict[int, float] = {}
        self.sampler = Sampler(
            cells,
            [holders_of(members.committee, cell.column) for cell in cells],
            rng,
            refusals_max=min(settings.refusals_max, settings.attempts_max),
            attempts_max=settings.attempts_max,
            retention_over=retention_over,
        )

    async def run(self, deadline_s: float) -> None:
        """Ask and verify until the sampler is finished, or for `deadline_s` seconds; see `sampler.verdict`.

        Raises:
            UnverifiedBatch: a commitment that the committee certified is no point of the group.
            StateError: evidence could not be written.
        """
        tasks: set[asyncio.Task[_Reply]] = set()
        try:
            with contextlib.suppress(TimeoutError):  # whatever is open is given up below
                async with asyncio.timeout(deadline_s):
                    await self._until_finished(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.sampler.give_up()
        await self._verify_arrived()
        self._on_change(self.sampler)

    async def _until_finished(self, tasks: set[asyncio.Task[_Reply]]) -> None:
        while not self.sampler.finished:
            tasks.update(asyncio.create_task(self._ask(request)) for request in self.sampler.requests())
            self._on_change(self.sampler)
            if not tasks:
                await self._verify_arrived()
                continue
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            tasks -= done
            for task in done:
                self._take(task.result())
            self._on_change(self.sampler)

    # --- asking --------------------------------------------------------------------------------------

    async def _ask(self, request: Request) -> _Reply:
        """Ask one member for some cells, after the backoff that its number of attempts asks for."""
        member = self._members[request.member]
        if request.attempt:
            await self._pause(self._backoff(request))
        cells = [self.sampler.cells[position] for position in request.positions]
        timeout_s = self._settings.answer_timeout_s * 2**request.attempt
        reason = ""
        try:
            answers = await member.cells(self.batch.header_hash, cells, timeout_s)
        except PeerUnreachable as error:
            self._retry_after_s[member.index] = error.retry_after_s
            self._witness.note_silence(member.index, error.reason)
            answers, reason = [Answer.UNREACHABLE] * len(cells), error.reason
        except PeerUnknown as error:
            answers, reason = [Answer.NOT_HELD] * len(cells), error.reason
        except PeerExpired as error:
            answers, reason = [Answer.EXPIRED] * len(cells), error.reason
        except PeerMisbehaved as error:
            self._witness.accuse(member.index, Fault.MALFORMED_ANSWER, error.reason, error.sent)
            answers, reason = [Answer.INVALID] * len(cells), error.reason
        return _Reply(request, answers, reason)

    def _backoff(self, request: Request) -> float:
        """Seconds before the next attempt: doubling, within a limit, full jitter in the upper half."""
        settings = self._settings
        exponential = settings.backoff_initial_s * float(2 ** (request.attempt - 1))
        asked_for = self._retry_after_s.get(request.member, 0.0)
        longest = min(max(exponential, asked_for), settings.backoff_max_s)
        return longest * self._rng.uniform(0.5, 1.0)

    def _take(self, reply: _Reply) -> None:
        """Tell the sampler what came of a request."""
        member = reply.request.member
        for position, answer in zip(reply.request.positions, reply.answers, strict=True):
            if isinstance(answer, bytes):
                assert len(answer) == RECORD_BYTES
                self._records[position] = answer
                self.sampler.received(position, member)
            else:
                self.sampler.answered(position, member, answer, reply.reason or answer.replace("-", " "))

    # --- verifying -----------------------------------------------------------------------------------

    async def _verify_arrived(self) -> None:
        """Verify all cells that wait for it, as one batch; accuse the senders of wrong ones."""
        positions = self.sampler.to_verify()
        if not positions:
            return
        wrong = await asyncio.to_thread(self._find_wrong, positions)
        self.sampler.verified([position for position in positions if position not in wrong])
        for position in wrong:
            sender, cell = self.sampler.sender(position), self.sampler.cells[position]
            assert sender is not None
            self._witness.accuse(sender, Fault.INVALID_CELL, _WRONG, self._records[position], cell)
            self.sampler.invalid(position, _WRONG)
        self._on_change(self.sampler)

    def _find_wrong(self, positions: tuple[int, ...]) -> set[int]:
        """Positions of the cells that do not verify; empty when all do."""
        joined = np.frombuffer(b"".join(self._records[p] for p in positions), dtype=np.uint8)
        records = joined.reshape(len(positions), RECORD_BYTES)
        batch = (
            self.batch.commitments,
            np.array([self.sampler.cells[p].row for p in positions]),
            np.array([self.sampler.cells[p].column for p in positions]),
            np.ascontiguousarray(records[:, :BYTES_PER_CELL]),
            np.ascontiguousarray(records[:, BYTES_PER_CELL:]),
        )
        try:
            if verify_matrix_cells(self._engine, *batch):
                return set()
        except (InvalidCell, InvalidPoint) as error:
            # A cell that is not canonical or a proof that is no point: find_invalid says which. A commitment
            # that is no point is the committee's fault, who signed for it, and no member's alone.
            if isinstance(error, InvalidPoint) and error.name != "proof":
                raise UnverifiedBatch("commitments", str(error)) from None
        return {positions[index] for index in find_invalid(self._engine, *batch)}
