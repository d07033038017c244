"""Errors of the node: invalid requests, and what a node cannot do at present.

    DaError
    +-- InvalidRequest(reason)              the request is invalid
    |   +-- EmptyPayload
    |   +-- PayloadTooLarge(actual, limit)
    |   +-- InvalidPush(reason)             an invalid column push
    |       +-- WrongChain(expected, actual)
    |       +-- UnknownDisperser(disperser_id)
    |       +-- InvalidDisperserSignature
    |       +-- InvalidPushSignature
    |       +-- InvalidTimestamp(reason)
    |       +-- WrongCustody(expected, actual)
    |       +-- RejectedColumn(column, row, reason)
    |       +-- RejectedPayload(payload_id, reason)
    |   +-- RejectedCertificate(reason)
    |   +-- InvalidContribution(reason)     an equation that does not hold
    +-- StaleCommittee(expected, actual)    header made for another committee
    +-- HeightGap(expected)                 header skips heights: send height `expected` first
    +-- HeaderConflict(existing_hash)       a second header at one height
    +-- NotFound(kind, ref)                 definitely unknown
    |   +-- ColumnNotHeld(column)           known batch, but this node does not hold that column
    +-- Expired(kind, ref)                  was stored, deleted after the retention period
    +-- NotCertified(ref, status)           known, but has no certificate yet
    +-- PayloadFailed(ref, reason)          the disperser gave up; post it again
    +-- NotADisperser                       this node takes no payloads
    +-- QueueFull(retry_after_s, reason)    a limit is reached: retry later
    +-- ReadOnly(reason)                    the disk is full, or the store cannot be written
    +-- NotReconstructable(reason)          not enough data is available at present
    +-- UndecodablePayload(ref, reason)     certified rows that are no payload, for certain and for ever
    +-- SignerUnavailable(reason)           the node's signer gives no signature at present
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
    """The request is invalid."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class EmptyPayload(InvalidRequest):
    """The payload is empty."""

    def __init__(self) -> None:
        super().__init__("payload is empty; it must have at least one byte")


class PayloadTooLarge(InvalidRequest):
    """The payload is longer than the network allows."""

    def __init__(self, actual: int, limit: int) -> None:
        super().__init__(f"payload has {actual} bytes; the limit is {limit}")
        self.actual = actual
        self.limit = limit


class InvalidPush(InvalidRequest):
    """A column push that an honest disperser would not send."""


class WrongChain(InvalidPush):
    """The header belongs to another network."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"header is for chain {actual}; this node serves chain {expected}")
        self.expected = expected
        self.actual = actual


class UnknownDisperser(InvalidPush):
    """The header's disperser is not a committee member with the disperser role."""

    def __init__(self, disperser_id: bytes) -> None:
        super().__init__(f"0x{disperser_id.hex()} is not a disperser of this committee")
        self.disperser_id = disperser_id


class InvalidDisperserSignature(InvalidPush):
    """The disperser's signature of the header is invalid."""

    def __init__(self) -> None:
        super().__init__("the disperser's signature of the header is invalid")


class InvalidPushSignature(InvalidPush):
    """The push does not show that its header's disperser sends it to this member."""

    def __init__(self) -> None:
        super().__init__("the push signature is not the disperser's for this member")


class InvalidTimestamp(InvalidPush):
    """The header's time is before its parent's, or too far in the future."""


class WrongCustody(InvalidPush):
    """The columns pushed are not exactly those of this member's custody."""

    def __init__(self, expected: tuple[int, ...], actual: tuple[int, ...]) -> None:
        super().__init__(
            f"push must carry exactly the {len(expected)} columns of this member's custody, ascending; "
            f"got {len(actual)} columns that differ or are out of order"
        )
        self.expected = expected
        self.actual = actual


class RejectedColumn(InvalidPush):
    """A cell does not match the row's commitment; nothing of the push was stored."""

    def __init__(self, column: int, row: int, reason: str) -> None:
        super().__init__(f"column {column}, row {row}: {reason}")
        self.column = column
        self.row = row


class RejectedPayload(InvalidPush):
    """A payload's first element is not that of its length: it could never be read, so it is not signed."""

    def __init__(self, payload_id: bytes, reason: str) -> None:
        super().__init__(f"payload 0x{payload_id.hex()}: {reason}")
        self.payload_id = payload_id
        self.reason = reason


class RejectedCertificate(InvalidRequest):
    """The certificate does not verify against the committee, or is for another header."""


class InvalidContribution(InvalidRequest):
    """A contributed fold or cell that does not verify; nothing of the contribution was stored."""


class StaleCommittee(DaError):
    """The header names a committee that this node does not serve."""

    def __init__(self, expected: bytes, actual: bytes) -> None:
        super().__init__(f"header is for committee 0x{actual.hex()}; this node serves 0x{expected.hex()}")
        self.expected = expected
        self.actual = actual


class HeightGap(DaError):
    """The header does not extend this node's log; `expected` is the height to send."""

    def __init__(self, expected: int) -> None:
        super().__init__(f"header does not extend this node's log; its next height is {expected}")
        self.expected = expected


class HeaderConflict(DaError):
    """This node has another header at this height, or another parent: evidence of equivocation."""

    def __init__(self, existing_hash: bytes) -> None:
        super().__init__(f"header conflicts with this node's log, which has 0x{existing_hash.hex()}")
        self.existing_hash = existing_hash


class NotFound(DaError):
    """Definitely unknown: every source that could have it was asked."""

    def __init__(self, kind: str, ref: str) -> None:
        super().__init__(f"{kind} {ref} not found")
        self.kind = kind
        self.ref = ref


class ColumnNotHeld(NotFound):
    """The batch is known, but the column is not in this node's custody (or not yet repaired)."""

    def __init__(self, column: int) -> None:
        super().__init__("column", str(column))
        self.column = column


class Expired(DaError):
    """It was stored, and was deleted after the retention period."""

    def __init__(self, kind: str, ref: str) -> None:
        super().__init__(f"{kind} {ref} has expired")
        self.kind = kind
        self.ref = ref


class NotCertified(DaError):
    """The payload or batch is known and in progress, but has no certificate yet."""

    def __init__(self, ref: str, status: str) -> None:
        super().__init__(f"{ref} is {status} and has no certificate yet")
        self.ref = ref
        self.status = status


class PayloadFailed(DaError):
    """The disperser gave up on the payload; it may be posted again."""

    def __init__(self, ref: str, reason: str) -> None:
        super().__init__(f"payload {ref} failed: {reason}")
        self.ref = ref
        self.reason = reason


class NotADisperser(DaError):
    """This node does not accept payloads, because it does not have the disperser role."""

    def __init__(self) -> None:
        super().__init__("this node is not a disperser; post to a disperser of the committee")


class QueueFull(DaError):
    """A named limit is reached; retry later."""

    def __init__(self, retry_after_s: int, reason: str) -> None:
        super().__init__(f"{reason}; retry after {retry_after_s} s")
        self.retry_after_s = retry_after_s
        self.reason = reason


class ReadOnly(DaError):
    """The node serves only reads, because it cannot write durably."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"read-only: {reason}")
        self.reason = reason


class NotReconstructable(DaError):
    """This node and the peers it can reach do not have enough data at present."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UndecodablePayload(DaError):
    """The disperser certified rows that are not the packing of a payload of the listed length.

    Definite: every reader of these rows comes to the same reason. The rows themselves can be read.
    """

    def __init__(self, ref: str, reason: str) -> None:
        super().__init__(f"payload {ref} cannot be decoded: {reason}")
        self.ref = ref
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
