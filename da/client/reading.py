"""Reading a payload back and checking it: the steps of `CellarClient.payload`; no I/O.

Flow, at one member:
- the proof of the payload: its entry and commitments are checked against the id, and under a committee the
  header, the certificate and the inclusion too;
- the bytes: checked against the commitments, one commitment's work for any number of rows;
- when the member says that they cannot be decoded, its raw rows: checked in the same way, and decoded here.

A 404 or 410 of the first member, or an answer that does not hold, is one member's word: up to OTHERS_MAX
others (of the committee, and those the client was given), chosen at random, are asked, each call within
OTHER_TIMEOUT_S. What each said is in the result, and in the error when none has it. Others never see the
token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from da.client import calls
from da.client.errors import ClientError, Gone, InvalidAnswer, NotKnown, Undecodable
from da.client.exchange import Session, Steps, Work
from da.protocol.committee import Committee
from da.protocol.custody import Finality
from da.protocol.errors import InvalidEvidence, UndecodableRows
from da.protocol.evidence import PayloadEvidence

OTHERS_MAX = 3
OTHER_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class PayloadRead:
    """A verified payload.

    url: the member that served it; header_hash bytes[32], of the batch that carries it; finality: under the
    committee, None when the client has none; said: what members asked before it answered, by url.
    """

    content: bytes
    url: str
    header_hash: bytes
    finality: Finality | None
    said: tuple[tuple[str, str], ...]


def read(
    session: Session, payload_id: bytes, committee: Committee | None, others: Sequence[str]
) -> Steps[PayloadRead]:
    """A verified payload from the first member that has it. Raises ClientError, with what each said."""
    said: list[tuple[str, str]] = []
    try:
        return (yield from _read_from(session, payload_id, committee, said))
    except (NotKnown, Gone, InvalidAnswer) as error:
        first = error
    said.append((session.url, str(first)))
    for url in session.some_of(_others(session, committee, others), OTHERS_MAX):
        other = session.at(url, OTHER_TIMEOUT_S)
        try:
            return (yield from _read_from(other, payload_id, committee, said))
        except Undecodable:
            raise
        except ClientError as error:
            said.append((url, str(error)))
    first.said = tuple(said)
    raise first


def _others(session: Session, committee: Committee | None, others: Sequence[str]) -> list[str]:
    known = [*others, *(member.url for member in (committee.members if committee else ()))]
    return [url for url in dict.fromkeys(known) if url != session.url]


def _read_from(
    session: Session, payload_id: bytes, committee: Committee | None, said: list[tuple[str, str]]
) -> Steps[PayloadRead]:
    evidence = yield from session.send(calls.evidence(payload_id))
    finality: list[Finality] = []

    def check_evidence() -> None:
        evidence.verify_id(payload_id)
        if committee is not None:
            finality.append(evidence.verify_certified(committee))

    yield from _checked(session, check_evidence)
    try:
        content = yield from session.send(calls.payload(payload_id))
    except Undecodable as error:
        yield from _undecodable(session, payload_id, evidence, error)
        raise
    yield from _checked(session, lambda: evidence.verify_bytes(content))
    certified = finality[0] if finality else None
    return PayloadRead(content, session.url, evidence.header.hash, certified, tuple(said))


def _undecodable(
    session: Session, payload_id: bytes, evidence: PayloadEvidence, error: Undecodable
) -> Steps[None]:
    """That the member is right: its rows are those committed to, and are no payload. Raises InvalidAnswer."""
    rows = yield from session.send(calls.rows(payload_id))
    right: list[bool] = []

    def check() -> None:
        try:
            evidence.decode(rows)
        except UndecodableRows:
            right.append(True)

    yield from _checked(session, check)
    if not right:
        raise InvalidAnswer(f"{session.url}: says {error.error}, and its rows are a payload") from error


def _checked(session: Session, check: Work.Check) -> Steps[None]:
    """Carry a check out, away from the event loop if there is one. Raises InvalidAnswer."""
    failure = yield Work(check)
    if isinstance(failure, InvalidEvidence):
        raise InvalidAnswer(f"{session.url}: does not verify: {failure}") from failure
