"""The sampler: a pure state machine that turns answers of holders into a verdict.

Flow:
- it is given the cells to sample and, for each, the members that hold its column;
- `requests()` returns which members to ask for which cells now: one request a member, each cell at one member
  at a time, holders in random order and every holder once before any is asked again;
- events report what came of it; a cell that arrived waits, unverified, for `to_verify()`, which hands out
  all that arrived once nothing is in flight, so that one batch verification does for all;
- `verdict` is AVAILABLE when every cell is valid, UNAVAILABLE when for some cell every holder was asked
  and answered without a valid cell, UNDECIDED otherwise: some holder could not be asked.

Invariants: the cells never change; a member is asked for a cell only if it holds it; a member whose cell
was invalid is not asked for it again; the number of requests is bounded by
cells x holders x max(refusals_max, attempts_max).

What counts as an answer: an invalid cell; "not held" and "corrupt", after asking `refusals_max` times (a
member may be about to repair the column); "expired" likewise, unless the retention is over, when no member
has to hold the cell any more. Silence, refused connections and server errors never count: they leave
UNDECIDED.

No I/O, no clock: its driver waits `Request.attempt` rounds of backoff, and calls `give_up` at its
deadline.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from sampling.errors import InvalidEvent, InvalidHolders, InvalidSampleCount
from sampling.selection import Coordinates


class Verdict(StrEnum):
    """What the samples show about the batch."""

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    UNDECIDED = "undecided"


class CellState(StrEnum):
    """The state of one sampled cell."""

    WAITING = "waiting"
    IN_FLIGHT = "in-flight"
    RECEIVED = "received"
    VALID = "valid"
    WITHHELD = "withheld"
    """Every holder answered without a valid cell."""
    UNREACHED = "unreached"
    """No holder is left to ask, and some of them never gave an answer that counts."""


class Answer(StrEnum):
    """What a holder did when it was asked for a cell, other than send one that verifies."""

    INVALID = "invalid"
    NOT_HELD = "not-held"
    CORRUPT = "corrupt"
    EXPIRED = "expired"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Request:
    """Ask `member` for the cells at `positions` (indices into the sampler's cells)."""

    member: int
    positions: tuple[int, ...]
    attempt: int
    """How often the member was asked before for one of these cells: the rounds of backoff to wait."""


@dataclass(slots=True)
class Attempts:
    """What one holder answered about one cell."""

    asked: int = 0
    answers: list[Answer] = field(default_factory=list)
    reason: str = ""
    """The last answer in words, for a report."""


class Sampler:
    """The state of one sampling run over a fixed set of cells.

    Args:
        cells: the distinct cells to sample, in the order they were drawn.
        holders: for each cell, the members that hold its column.
        rng: order in which holders are asked.
        refusals_max: how often a holder is asked that answers without a cell.
        attempts_max: how often a holder is asked while it gives no answer.
        retention_over: true when the members no longer owe the batch: "expired" is then no refusal.

    Raises:
        InvalidSampleCount: no cells.
        InvalidHolders: a cell without holders.
    """

    def __init__(
        self,
        cells: Sequence[Coordinates],
        holders: Sequence[Sequence[int]],
        rng: Random,
        *,
        refusals_max: int = 2,
        attempts_max: int = 4,
        retention_over: bool = False,
    ) -> None:
        if not cells or len(cells) != len(holders):
            raise InvalidSampleCount(len(cells), len(holders))
        for position, members in enumerate(holders):
            if not members:
                raise InvalidHolders(position)
        assert 1 <= refusals_max <= attempts_max

        self.cells = tuple(cells)
        self._refusals_max = refusals_max
        self._attempts_max = attempts_max
        self._retention_over = retention_over
        self._closed = False
        self._states = [CellState.WAITING] * len(cells)
        self._asked: list[int | None] = [None] * len(cells)  # the member that has or sent the cell
        self._attempts: list[dict[int, Attempts]] = []
        for members in holders:
            order = list(dict.fromkeys(members))
            rng.shuffle(order)
            self._attempts.append({member: Attempts() for member in order})

    # --- what to do next ---------------------------------------------------------------------------

    def requests(self) -> list[Request]:
        """Which members to ask now; may be empty. Every cell that waits is put in flight."""
        known_lost = self.verdict is Verdict.UNAVAILABLE
        grouped: dict[tuple[int, int], list[int]] = defaultdict(list)
        for position, state in enumerate(self._states):
            if state is not CellState.WAITING:
                continue
            member = self._next_holder(position)
            assert member is not None, "a waiting cell has a holder left to ask"
            attempts = self._attempts[position][member]
            if known_lost and attempts.asked:  # the verdict is final: only first answers, for the report
                continue
            grouped[member, attempts.asked].append(position)
            attempts.asked += 1
            self._states[position] = CellState.IN_FLIGHT
            self._asked[position] = member
        return [
            Request(member, tuple(positions), attempt) for (member, attempt), positions in grouped.items()
        ]

    def to_verify(self) -> tuple[int, ...]:
        """Positions of all cells that arrived, once no cell is in flight or could be asked for."""
        if CellState.IN_FLIGHT in self._states:
            return ()
        return self._positions(CellState.RECEIVED)

    @property
    def finished(self) -> bool:
        """True when no request, event or verification can change anything any more."""
        if CellState.IN_FLIGHT in self._states or CellState.RECEIVED in self._states:
            return False
        waiting = self._positions(CellState.WAITING)
        if not waiting or self.verdict is not Verdict.UNAVAILABLE:
            return not waiting
        return all(attempts.asked for position in waiting for attempts in self._attempts[position].values())

    # --- what happened -----------------------------------------------------------------------------

    def received(self, position: int, member: int) -> None:
        """The member sent a cell; it stays unverified until `verified` or `invalid`.

        Raises:
            InvalidEvent: the member has no such request in flight.
        """
        self._expect(position, member, CellState.IN_FLIGHT)
        self._states[position] = CellState.RECEIVED

    def verified(self, positions: Sequence[int]) -> None:
        """The cells at these positions were received and are valid.

        Raises:
            InvalidEvent: a cell is not one that waits for verification.
        """
        for position in positions:
            self._expect(position, None, CellState.RECEIVED)
            self._states[position] = CellState.VALID

    def invalid(self, position: int, reason: str) -> None:
        """The received cell failed verification: its sender lied, and the cell is asked elsewhere.

        Raises:
            InvalidEvent: the cell is not one that waits for verification.
        """
        self._expect(position, None, CellState.RECEIVED)
        self._answer(position, Answer.INVALID, reason)

    def answered(self, position: int, member: int, answer: Answer, reason: str = "") -> None:
        """The member answered the request in flight for this cell with something else than a cell.

        Raises:
            InvalidEvent: the member has no such request in flight.
        """
        self._expect(position, member, CellState.IN_FLIGHT)
        self._answer(position, answer, reason)

    def give_up(self) -> None:
        """The end, at a deadline or because the verdict is final: no member is asked any more.

        What is in flight stays unanswered; each cell is settled by the answers that there are. Cells that
        arrived can still be verified.
        """
        self._closed = True
        for position in self._positions(CellState.IN_FLIGHT):
            self._answer(position, Answer.UNREACHABLE, "no answer before the deadline")
        for position in self._positions(CellState.WAITING):
            self._settle(position)

    # --- what is known -----------------------------------------------------------------------------

    @property
    def verdict(self) -> Verdict:
        """The verdict on what is known so far; final once `finished`, or at the driver's deadline."""
        if CellState.WITHHELD in self._states:
            return Verdict.UNAVAILABLE
        if all(state is CellState.VALID for state in self._states):
            return Verdict.AVAILABLE
        return Verdict.UNDECIDED

    @property
    def expired(self) -> bool:
        """True when the run is undecided only because the members rightly dropped the batch."""
        unreached = self._positions(CellState.UNREACHED)
        return (
            self._retention_over
            and self.verdict is Verdict.UNDECIDED
            and bool(unreached)
            and all(
                Answer.EXPIRED in attempts.answers
                for position in unreached
                for attempts in self._attempts[position].values()
            )
        )

    def state(self, position: int) -> CellState:
        """The state of the cell."""
        return self._states[position]

    def sender(self, position: int) -> int | None:
        """The member that was asked last for the cell; None before the first request."""
        return self._asked[position]

    def attempts(self, position: int) -> dict[int, Attempts]:
        """What each holder of the cell answered, in the order in which holders are asked."""
        return self._attempts[position]

    def count(self, state: CellState) -> int:
        """How many cells are in this state."""
        return self._states.count(state)

    # --- inside --------------------------------------------------------------------------------------

    def _positions(self, state: CellState) -> tuple[int, ...]:
        return tuple(position for position, held in enumerate(self._states) if held is state)

    def _expect(self, position: int, member: int | None, state: CellState) -> None:
        if not 0 <= position < len(self.cells):
            raise InvalidEvent(position, "no such cell")
        if self._states[position] is not state:
            raise InvalidEvent(position, f"is {self._states[position]}, not {state}")
        if member is not None and self._asked[position] != member:
            raise InvalidEvent(position, f"was requested from member {self._asked[position]}, not {member}")

    def _answer(self, position: int, answer: Answer, reason: str) -> None:
        member = self._asked[position]
        assert member is not None
        attempts = self._attempts[position][member]
        attempts.answers.append(answer)
        attempts.reason = reason
        self._states[position] = CellState.WAITING
        if self._closed or self._next_holder(position) is None:
            self._settle(position)

    def _settle(self, position: int) -> None:
        """No holder is left to ask for the cell: the result of their answers."""
        refused = all(self._refused(attempts) for attempts in self._attempts[position].values())
        self._states[position] = CellState.WITHHELD if refused else CellState.UNREACHED

    def _next_holder(self, position: int) -> int | None:
        """The holder asked least often among those that may still send the cell, in their random order."""
        candidates = [
            (attempts.asked, member)
            for member, attempts in self._attempts[position].items()
            if not self._done(attempts)
        ]
        return min(candidates, key=lambda candidate: candidate[0])[1] if candidates else None

    def _done(self, attempts: Attempts) -> bool:
        """Whether the holder is not asked for the cell again."""
        if Answer.INVALID in attempts.answers or (
            self._retention_over and Answer.EXPIRED in attempts.answers
        ):
            return True
        refusals = sum(answer is not Answer.UNREACHABLE for answer in attempts.answers)
        return refusals >= self._refusals_max or attempts.asked >= self._attempts_max

    def _refused(self, attempts: Attempts) -> bool:
        """Whether the holder answered, and without a valid cell."""
        excuses = {Answer.UNREACHABLE, Answer.EXPIRED} if self._retention_over else {Answer.UNREACHABLE}
        return any(answer not in excuses for answer in attempts.answers)
