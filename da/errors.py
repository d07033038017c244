"""Errors of the node: what a caller can get wrong, and what a node cannot do just now.

    DaError
    +-- InvalidRequest(reason)              the request itself makes no sense
    |   +-- EmptyPayload
    |   +-- PayloadTooLarge(actual, limit)
    |   +-- InvalidPush(reason)             a column push that is not what a disperser may send
    |       +-- WrongChain(expected, actual)
    |       +-- UnknownDisperser(disperser_id)
    |       +-- InvalidDisperserSignature
    |       +-- InvalidPushSignature
    |       +-- InvalidTimestamp(reason)
    |       +-- WrongCustody(expected, actual)
    |       +-- RejectedColumn(column, row, reason)
    |   +-- RejectedCertificate(reason)
    +-- StaleCommittee(expected, actual)    header made for another committee
    +-- HeightGap(expected)                 header skips heights: send `expected` first
    +-- HeaderConflict(existing_hash)       a second header at one height
    +-- NotFound(kind, ref)                 unknown, for certain
    |   +-- ColumnNotHeld(column)           known batch, but this node does not hold that column
    +-- Expired(kind, ref)                  known once, dropped after the retention
    +-- NotCertified(ref, status)           known, but its certificate does not exist yet
    +-- PayloadFailed(ref, reason)          given up; post it again
    +-- NotADisperser                       this node takes no payloads
    +-- QueueFull(retry_after_s, reason)    slow down
    +-- ReadOnly(reason)                    no room, or the store cannot be written
    +-- NotReconstructable(reason)          the data or the answer cannot be had at this moment
    +-- SignerUnavailable(reason)           the node's signer gives no signature at this moment
    +-- PeerError(member, reason)           another node; seen by callers of the transport alone
        +-- PeerUnreachable                 no answer, or not in time
        +-- PeerRejected(status, error, fields)  it answered with a typed error
        +-- PeerMisbehaved                  it answered with something malformed or wrong

Invariants: `fields()` of each error is JSON-ready (ints, strings, None), bytes as 0x-hex. What a peer said is
one clean line of bounded length in a PeerError's text and fields: other members choose none of what logs,
metrics and answers of this node consist of.
"""

from __future__ import annotations

from da.text import printable

PEER_REASON_CHARS_MAX = 300
PEER_NAME_CHARS_MAX = 64  # of an error's or a field's name
PEER_FIELDS_MAX = 16


class DaError(Exception):
    """Root of the node's errors; `fields()` is what an API adds to `{error, message}`."""

    def fields(self) -> dict[str, object]:
        """The error's own attributes, ready for JSON."""
        return {key: _plain(value) for key, value in vars(self).items() if not key.startswith("_")}


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


class InvalidRequest(DaError):
    """The request cannot be meant as it stands."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class EmptyPayload(InvalidRequest):
    """A payload has at least one byte."""

    def __init__(self) -> None:
        super().__init__("a payload has at least one byte")


class PayloadTooLarge(InvalidRequest):
    """A payload longer than the network takes."""

    def __init__(self, actual: int, limit: int) -> None:
        super().__init__(f"a payload of {actual} bytes is over the limit of {limit}")
        self.actual = actual
        self.limit = limit


class InvalidPush(InvalidRequest):
    """A column push that no honest disperser sends."""


class WrongChain(InvalidPush):
    """A header of another network."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"header is for chain {actual}, this node serves chain {expected}")
        self.expected = expected
        self.actual = actual


class UnknownDisperser(InvalidPush):
    """The header's disperser is no committee member with that role."""

    def __init__(self, disperser_id: bytes) -> None:
        super().__init__(f"0x{disperser_id.hex()} is not a disperser of the committee")
        self.disperser_id = disperser_id


class InvalidDisperserSignature(InvalidPush):
    """The disperser did not sign this header."""

    def __init__(self) -> None:
        super().__init__("the disperser's signature does not verify")


class InvalidPushSignature(InvalidPush):
    """The push does not show that its header's disperser sends it to this member."""

    def __init__(self) -> None:
        super().__init__("the push signature is not the disperser's for this member")


class InvalidTimestamp(InvalidPush):
    """The header's clock runs backwards or too far ahead."""


class WrongCustody(InvalidPush):
    """The columns pushed are not exactly those of this member's custody."""

    def __init__(self, expected: tuple[int, ...], actual: tuple[int, ...]) -> None:
        super().__init__(
            f"custody is {len(expected)} columns, the push carries {len(actual)} others or in disorder"
        )
        self.expected = expected
        self.actual = actual


class RejectedColumn(InvalidPush):
    """A cell does not belong to the row's commitment; nothing of the push was stored."""

    def __init__(self, column: int, row: int, reason: str) -> None:
        super().__init__(f"column {column}, row {row}: {reason}")
        self.column = column
        self.row = row


class RejectedCertificate(InvalidRequest):
    """A certificate that does not verify against the committee, or is for another header."""


class StaleCommittee(DaError):
    """The header names another committee than the one this node serves."""

    def __init__(self, expected: bytes, actual: bytes) -> None:
        super().__init__(f"header is for committee 0x{actual.hex()}, this node serves 0x{expected.hex()}")
        self.expected = expected
        self.actual = actual


class HeightGap(DaError):
    """The header does not extend the log known here; `expected` is the height to send."""

    def __init__(self, expected: int) -> None:
        super().__init__(f"the next height known here is {expected}")
        self.expected = expected


class HeaderConflict(DaError):
    """Another header is already known at this height, or the parent differs: evidence of equivocation."""

    def __init__(self, existing_hash: bytes) -> None:
        super().__init__(f"the log known here has 0x{existing_hash.hex()} instead")
        self.existing_hash = existing_hash


class NotFound(DaError):
    """Unknown, for certain: whoever would know was asked."""

    def __init__(self, kind: str, ref: str) -> None:
        super().__init__(f"no {kind} {ref}")
        self.kind = kind
        self.ref = ref


class ColumnNotHeld(NotFound):
    """The batch is known, the column is not in this node's custody (or not yet repaired)."""

    def __init__(self, column: int) -> None:
        super().__init__("column", str(column))
        self.column = column


class Expired(DaError):
    """It was there, and was dropped after the retention period."""

    def __init__(self, kind: str, ref: str) -> None:
        super().__init__(f"{kind} {ref} expired")
        self.kind = kind
        self.ref = ref


class NotCertified(DaError):
    """The thing is known and on its way, but has no certificate yet."""

    def __init__(self, ref: str, status: str) -> None:
        super().__init__(f"{ref} is {status}, it has no certificate yet")
        self.ref = ref
        self.status = status


class PayloadFailed(DaError):
    """The disperser gave the payload up; it may be posted again."""

    def __init__(self, ref: str, reason: str) -> None:
        super().__init__(f"payload {ref} failed: {reason}")
        self.ref = ref
        self.reason = reason


class NotADisperser(DaError):
    """This node takes no payloads: its disperser role is off."""

    def __init__(self) -> None:
        super().__init__("this node is not a disperser")


class QueueFull(DaError):
    """A named limit is reached; come back later."""

    def __init__(self, retry_after_s: int, reason: str) -> None:
        super().__init__(f"{reason}; retry after {retry_after_s} s")
        self.retry_after_s = retry_after_s
        self.reason = reason


class ReadOnly(DaError):
    """The node serves reads alone, because it cannot write durably."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"read-only: {reason}")
        self.reason = reason


class NotReconstructable(DaError):
    """Neither this node nor the peers it could reach have enough at this moment."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SignerUnavailable(DaError):
    """The signer that holds the node's key gives no signature at this moment; nothing is lost by it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the signer is unavailable: {reason}")
        self.reason = reason


class PeerError(DaError):
    """Something about another member; `reason` may quote it."""

    def __init__(self, member: str, reason: str) -> None:
        self.member = member
        self.reason = printable(reason, PEER_REASON_CHARS_MAX)
        super().__init__(f"{member}: {self.reason}")


class PeerUnreachable(PeerError):
    """No connection, no answer in time, or a broken answer halfway."""


class PeerMisbehaved(PeerError):
    """An answer that an honest member does not give."""


class PeerRejected(PeerError):
    """A typed error of the peer: its HTTP status, the error's class name and its fields.

    Of `answer` the first PEER_FIELDS_MAX numbers, strings and nulls are kept.
    """

    def __init__(self, member: str, status: int, error: str, answer: dict[str, object]) -> None:
        self.status = status
        self.error = printable(error, PEER_NAME_CHARS_MAX)
        self.answer = _kept(answer)
        super().__init__(member, f"answered {status} {self.error}: {self.answer.get('message', '')}")


def _kept(answer: dict[str, object]) -> dict[str, object]:
    """A peer's fields, as far as they are short and plain."""
    kept: dict[str, object] = {}
    for name, value in answer.items():
        if isinstance(value, str):
            value = printable(value, PEER_REASON_CHARS_MAX)
        elif not (value is None or (isinstance(value, int) and abs(value) < 2**64)):
            continue
        kept[printable(name, PEER_NAME_CHARS_MAX)] = value
        if len(kept) == PEER_FIELDS_MAX:
            break
    return kept
