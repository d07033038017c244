"""Faults of members: who sent what, with the sent bytes saved in a file.

The idea: a member that sends something an honest one would not is accused, with the fault and the bytes it
sent, which are saved under their SHA-256 in the state directory. Members that do not answer are recorded
separately: silence is not a fault.

A member's answers over HTTP are not signed, so the file is evidence for its owner only; two signed headers
at one height are evidence for everyone.

Invariants: a file is complete or not there (written aside, synced, renamed); a run keeps at most
`EVIDENCE_MAX` of them, `EVIDENCE_PER_MEMBER_MAX` against one member, so that a liar does not use up
the room for others, and all runs together `EVIDENCE_BYTES_MAX`, so that none fills the disk.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from copy import copy
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from da.protocol.committee import Committee, Member
from light_client.batch import SignedHeader
from light_client.errors import StateError

EVIDENCE_MAX = 64
EVIDENCE_PER_MEMBER_MAX = 8
EVIDENCE_BYTES_MAX = 64 * 2**20


class Fault(StrEnum):
    """The fault a member is accused of."""

    INVALID_CELL = "invalid-cell"
    """A cell or proof that does not verify at its position against the certified commitments."""
    INVALID_FOLD = "invalid-fold"
    """A fold that does not verify in its column; the evidence is the seed, then the folded cell and proof."""
    MALFORMED_ANSWER = "malformed-answer"
    """An answer whose shape or length breaks the protocol."""
    UNVERIFIED_BATCH = "unverified-batch"
    """A header, certificate, payload list or commitments that fail verification."""
    BROKEN_CHAIN = "broken-chain"
    """A certified header that does not extend the one before it."""
    EQUIVOCATION = "equivocation"
    """A disperser's second header at one height."""


@dataclass(frozen=True, slots=True)
class Accusation:
    """One fault of one member."""

    member: Member
    fault: Fault
    reason: str
    row: int | None
    column: int | None
    sent_bytes: int
    sent_sha256: str
    evidence: Path | None


class _Evidence:
    """The directory of evidence, and how much a run may still put there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.expanduser()
        self._kept: Counter[bytes] = Counter()  # by member id
        self._bytes: int | None = None  # in the directory, once looked at

    def keep(self, member_id: bytes, digest: str, sent: bytes) -> Path | None:
        """The file with what the member sent; None when there is no room for it.

        Raises:
            StateError: the file cannot be written.
        """
        wanted = self._kept[member_id] < EVIDENCE_PER_MEMBER_MAX and self._kept.total() < EVIDENCE_MAX
        if not wanted or not self._has_room(len(sent)):
            return None
        evidence = self._write(digest, sent)
        self._kept[member_id] += 1
        return evidence

    def _has_room(self, size: int) -> bool:
        if self._bytes is None:
            try:
                self._bytes = sum(entry.stat().st_size for entry in os.scandir(self._directory))
            except FileNotFoundError:
                self._bytes = 0
            except OSError as error:
                raise StateError(f"{self._directory}: {error}") from error
        return self._bytes + size <= EVIDENCE_BYTES_MAX

    def _write(self, digest: str, sent: bytes) -> Path:
        target = self._directory / f"{digest}.bin"
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            if target.exists():
                return target
            descriptor, staged = tempfile.mkstemp(dir=self._directory, prefix=".evidence-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(sent)
                file.flush()
                os.fsync(file.fileno())
            Path(staged).replace(target)
            self._bytes = (self._bytes or 0) + len(sent)
        except OSError as error:
            raise StateError(f"{self._directory}: {error}") from error
        return target


class Witness:
    """Collects the faults and silences that a run observes.

    Args:
        committee: the members, numbered by their place in it.
        directory: where evidence is saved; created when first needed.
    """

    def __init__(self, committee: Committee, directory: Path) -> None:
        self.committee = committee
        self.accusations: list[Accusation] = []
        self.silences: dict[Member, list[str]] = {}
        self.equivocations: list[tuple[SignedHeader, SignedHeader]] = []
        self._evidence = _Evidence(directory)

    def under(self, committee: Committee) -> Witness:
        """The same witness for the members of another committee, which are numbered otherwise."""
        other = copy(self)
        other.committee = committee
        return other

    def accuse(
        self,
        member: int,
        fault: Fault,
        reason: str,
        sent: bytes,
        *,
        row: int | None = None,
        column: int | None = None,
    ) -> None:
        """Record a member's fault; `sent` is the evidence; row and column are where it was found.

        Raises:
            StateError: the evidence cannot be written.
        """
        accused, digest = self.committee.members[member], sha256(sent).hexdigest()
        evidence = self._evidence.keep(accused.id, digest, sent)
        self.accusations.append(Accusation(accused, fault, reason, row, column, len(sent), digest, evidence))

    def note_silence(self, member: int, reason: str) -> None:
        """Record that a member did not answer."""
        self.silences.setdefault(self.committee.members[member], []).append(reason)
