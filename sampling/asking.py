"""Asking holders for samples: the state machine under both ways of sampling.

Flow:
- it is given the items to sample (cells, or columns to be folded) and, for each, the members that hold it,
  and others that may have it;
- `requests()` returns which members to ask for which items now: one request a member, each item at one member
  at a time, holders in random order, the others after them, and everyone once before any is asked again;
- events report what came of it; a sample that arrived waits, unverified, for `to_verify()`, which hands out
  all that arrived once nothing is in flight, so that one batch verification does for all.

Invariants: the items never change; a member is asked only for what it may have; a member whose sample was
invalid is not asked for it again; the number of requests is bounded by
items x members asked x max(refusals_max, attempts_max).

What counts as an answer: an invalid sample; "not held" and "corrupt", after asking `refusals_max` times (a
member may be about to repair the column); "expired" likewise, unless the retention is over, when no member
has to hold it any more. Silence, refused connections and server errors never count. An item is withheld when
every holder answered without a valid sample, and the others were asked; what those say, or do not say,
excuses no holder.

No I/O, no clock: its driver waits `Request.attempt` rounds of backoff, and calls `give_up` at its
deadline. Does not: decide the verdict (sampler.py, folds.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Generic, TypeVar

from sampling.errors import InvalidEvent, InvalidHolders, InvalidSampleCount

T = TypeVar("T")


class Verdict(StrEnum):
    """What the samples show about the batch."""

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    UNDECIDED = "undecided"


class SampleState(StrEnum):
    """The state of one item."""

    WAITING = "waiting"
    IN_FLIGHT = "in-flight"
    RECEIVED = "received"
    VALID = "valid"
    WITHHELD = "withheld"
    """Every holder answered without a valid sample."""
    UNREACHED = "unreached"
    """No member is left to ask, and some holder never gave an answer that counts."""


class Answer(StrEnum):
    """What a member did when it was asked for an item, other than send a sample that verifies."""

    INVALID = "invalid"
    NOT_HELD = "not-held"
    CORRUPT = "corrupt"
    EXPIRED = "expired"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Request:
    """Ask `member` for the items at `positions` (indices into the items)."""

    member: int
    positions: tuple[int, ...]
    attempt: int
    """How often the member was asked before for one of these items: the rounds of backoff to wait."""


@dataclass(slots=True)
class Attempts:
    """What one member answered about one item."""

    asked: int = 0
    answers: list[Answer] = field(default_factory=list)
    reason: str = ""
    """The last answer in words, for a report."""


class Asking(ABC, Generic[T]):
    """The state of one run over a fixed set of items.

    Args:
        items: the distinct items, in the order they were drawn.
        holders: for each item, the members that hold it.
        others: for each item, members that may have it and do not owe it.
        rng: order in which holders are asked.
        refusals_max: how often a member is asked that answers without a sample.
        attempts_max: how often a member is asked while it gives no answer.
        retention_over: true when the members no longer owe the batch: "expired" is then no refusal.

    Raises:
        InvalidSampleCount: no items.
        InvalidHolders: an item without holders.
    """

    def __init__(
        self,
        items: Sequence[T],
        holders: Sequence[Sequence[int]],
        rng: Random,
        *,
        others: Sequence[Sequence[int]] | None = None,
        refusals_max: int = 2,
        attempts_max: int = 4,
        retention_over: bool = False,
    ) -> None:
        if not items or len(items) != len(holders):
            raise InvalidSampleCount(len(items), len(holders))
        for position, members in enumerate(holders):
            if not members:
                raise InvalidHolders(position)
        assert 1 <= refusals_max <= attempts_max

        self.items = tuple(items)
        self._refusals_max = refusals_max
        self._attempts_max = attempts_max
        self._retention_over = retention_over
        self._closed = False
        self._states = [SampleState.WAITING] * len(items)
        self._asked: list[int | None] = [None] * len(items)  # the member that has or sent the cell
        self._attempts: list[dict[int, Attempts]] = []
        self._holders = [frozenset(members) for members in holders]
        for position, members in enumerate(holders):
            order = list(dict.fromkeys(members))
            rng.shuffle(order)
            order += [] if others is None else others[position]
            self._attempts.append({member: Attempts() for member in order})

    # --- what to do next ---------------------------------------------------------------------------

    def requests(self) -> list[Request]:
        """Which members to ask now; may be empty. Every item that is wanted is put in flight."""
        known_lost = self.verdict is Verdict.UNAVAILABLE
        grouped: dict[tuple[int, int], list[int]] = defaultdict(list)
        for position in self._wanted():
            member = self._next_holder(position)
            assert member is not None, "a waiting item has a member left to ask"
            attempts = self._attempts[position][member]
            if known_lost and attempts.asked:  # the verdict is final: only first answers, for the report
                continue
            grouped[member, attempts.asked].append(position)
            attempts.asked += 1
            self._states[position] = SampleState.IN_FLIGHT
            self._asked[position] = member
        return [
            Request(member, tuple(positions), attempt) for (member, attempt), positions in grouped.items()
        ]

    def to_verify(self) -> tuple[int, ...]:
        """Positions of all samples that arrived, once nothing is in flight."""
        if SampleState.IN_FLIGHT in self._states:
            return ()
        return self._positions(SampleState.RECEIVED)

    # --- what happened -----------------------------------------------------------------------------

    def received(self, position: int, member: int) -> None:
        """The member sent a sample; it stays unverified until `verified` or `invalid`.

        Raises:
            InvalidEvent: the member has no such request in flight.
        """
        self._expect(position, member, SampleState.IN_FLIGHT)
        self._states[position] = SampleState.RECEIVED

    def verified(self, positions: Sequence[int]) -> None:
        """The samples at these positions were received and are valid.

        Raises:
            InvalidEvent: a sample is not one that waits for verification.
        """
        for position in positions:
            self._expect(position, None, SampleState.RECEIVED)
            self._states[position] = SampleState.VALID

    def invalid(self, position: int, reason: str) -> None:
        """The received sample failed verification: its sender lied, and the item is asked elsewhere.

        Raises:
            InvalidEvent: the sample is not one that waits for verification.
        """
        self._expect(position, None, SampleState.RECEIVED)
        self._answer(position, Answer.INVALID, reason)

    def answered(self, position: int, member: int, answer: Answer, reason: str = "") -> None:
        """The member answered the request in flight for this item with something else than a sample.

        Raises:
            InvalidEvent: the member has no such request in flight.
        """
        self._expect(position, member, SampleState.IN_FLIGHT)
        self._answer(position, answer, reason)

    def give_up(self) -> None:
        """The end, at a deadline or because the verdict is final: no member is asked any more.

        What is in flight stays unanswered; each item is settled by the answers that there are. Samples that
        arrived can still be verified.
        """
        self._closed = True
        for position in self._positions(SampleState.IN_FLIGHT):
            self._answer(position, Answer.UNREACHABLE, "no answer before the deadline")
        for position in self._positions(SampleState.WAITING):
            self._settle(position)

    # --- what is known -----------------------------------------------------------------------------

    @property
    @abstractmethod
    def verdict(self) -> Verdict:
        """The verdict on what is known so far; final once `finished`, or at the driver's deadline."""

    @property
    @abstractmethod
    def finished(self) -> bool:
        """True when no request, event or verification can change anything any more."""

    @property
    def expired(self) -> bool:
        """True when the run is undecided only because the members rightly dropped the batch."""
        unreached = self._positions(SampleState.UNREACHED)
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

    def state(self, position: int) -> SampleState:
        """The state of the item."""
        return self._states[position]

    def sender(self, position: int) -> int | None:
        """The member that was asked last for the item; None before the first request."""
        return self._asked[position]

    def attempts(self, position: int) -> dict[int, Attempts]:
        """What each member answered about the item, in the order in which they are asked."""
        return self._attempts[position]

    def count(self, state: SampleState) -> int:
        """How many items are in this state."""
        return self._states.count(state)

    # --- inside --------------------------------------------------------------------------------------

    def _wanted(self) -> Sequence[int]:
        """Positions of the items to ask for now: each waits, and has a member left to ask."""
        return self._positions(SampleState.WAITING)

    @property
    def _busy(self) -> bool:
        """Whether a request or a verification is outstanding."""
        return SampleState.IN_FLIGHT in self._states or SampleState.RECEIVED in self._states

    def _positions(self, state: SampleState) -> tuple[int, ...]:
        return tuple(position for position, held in enumerate(self._states) if held is state)

    def _expect(self, position: int, member: int | None, state: SampleState) -> None:
        if not 0 <= position < len(self.items):
            raise InvalidEvent(position, "no such item")
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
        self._states[position] = SampleState.WAITING
        if self._closed or self._next_holder(position) is None:
            self._settle(position)

    def _settle(self, position: int) -> None:
        """No member is left to ask for the item: the result of the holders' answers."""
        attempts = self._attempts[position]
        refused = all(self._refused(attempts[member]) for member in self._holders[position])
        self._states[position] = SampleState.WITHHELD if refused else SampleState.UNREACHED

    def _next_holder(self, position: int) -> int | None:
        """The member asked least often among those that may still send it, in their order."""
        candidates = [
            (attempts.asked, member)
            for member, attempts in self._attempts[position].items()
            if not self._done(attempts)
        ]
        return min(candidates, key=lambda candidate: candidate[0])[1] if candidates else None

    def _done(self, attempts: Attempts) -> bool:
        """Whether the member is not asked for the item again."""
        if Answer.INVALID in attempts.answers or (
            self._retention_over and Answer.EXPIRED in attempts.answers
        ):
            return True
        refusals = sum(answer is not Answer.UNREACHABLE for answer in attempts.answers)
        return refusals >= self._refusals_max or attempts.asked >= self._attempts_max

    def _refused(self, attempts: Attempts) -> bool:
        """Whether the member answered, and without a valid sample."""
        excuses = {Answer.UNREACHABLE, Answer.EXPIRED} if self._retention_over else {Answer.UNREACHABLE}
        return any(answer not in excuses for answer in attempts.answers)
