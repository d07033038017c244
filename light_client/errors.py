"""Errors of the light client.

    LightClientError(Exception)
      InvalidReference(text)            neither a height, nor 0x and 64 hex digits, nor `latest`
      UnknownDisperser(text)            a disperser that the committee does not have, or one must be named
      StateError                        the state directory cannot be used
      BatchNotFound(reference)          every member says, for certain, that it has no such batch
        NoBatchYet(asked)               `latest` of a log in which no member has ever had a batch
      BatchExpired(reference)           members say that they dropped it after the retention
      BatchPending(reference)           members have it, but it has no certificate yet
      BatchUnreached(reference)         none gave a batch that verifies, and some could not be asked
      CommitteesChanged                 members showed that another committee is in office: search again
      UnverifiedBatch(check, reason)    it is one, but certificate, signature or roots do not hold
      PeerError(member, reason)         about one member's answer
        PeerUnreachable                 no connection, no answer in time, overload or a server error
        PeerUnknown                     404 with a typed error: it says that it does not have the thing
        PeerExpired                     410: it says that it dropped the thing after the retention
        PeerMisbehaved(sent)            an answer that an honest member does not give, with its bytes

A verdict is never an error: unavailable and undecided are values of a report.
"""

from __future__ import annotations

from da.text import printable

REASON_CHARS_MAX = 200


class LightClientError(Exception):
    """Base of the light client's errors."""


class InvalidReference(LightClientError):
    """The text names no batch and no payload."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text[:80]!r} is neither a height, nor 0x and 64 hex digits, nor 'latest'")
        self.text = text


class UnknownDisperser(LightClientError):
    """The committee has no such disperser, or several and one must be named."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class StateError(LightClientError):
    """The state directory cannot be opened, read or written."""


class BatchNotFound(LightClientError):
    """Every member that was asked says that it does not have the batch or payload."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"no member knows {reference}")
        self.reference = reference


class NoBatchYet(BatchNotFound):
    """The newest batch was asked for; no member has one, and none is known here from before."""

    def __init__(self, asked: int) -> None:
        super().__init__("latest")
        self.args = (f"no batch yet (members asked: {asked}); post one first",)
        self.asked = asked


class BatchExpired(LightClientError):
    """Members say that the batch was dropped after the retention."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"{reference} has expired at the members")
        self.reference = reference


class BatchPending(LightClientError):
    """Members have the batch, but none has a certificate of it."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"{reference} has no certificate yet")
        self.reference = reference


class BatchUnreached(LightClientError):
    """No member gave a batch that verifies, and not all of them could be asked."""

    def __init__(self, reference: str, reason: str) -> None:
        super().__init__(f"could not get {reference}: {reason}")
        self.reference = reference
        self.reason = reason


class CommitteesChanged(LightClientError):
    """The search learned of a change of committee, which is verified and stored: it is to be repeated."""


class UnverifiedBatch(LightClientError):
    """The batch does not convince."""

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(f"{check}: {reason}")
        self.check = check
        self.reason = reason


class PeerError(LightClientError):
    """Base of what a member's answer can be, other than what was asked for.

    `reason` may quote the member: it is one clean line of REASON_CHARS_MAX characters at most.
    """

    def __init__(self, member: str, reason: str) -> None:
        self.member = member
        self.reason = printable(reason, REASON_CHARS_MAX)
        super().__init__(f"{member}: {self.reason}")


class PeerUnreachable(PeerError):
    """The member could not be asked; `retry_after_s` is what it wishes, 0 when it says nothing."""

    def __init__(self, member: str, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(member, reason)
        self.retry_after_s = retry_after_s


class PeerUnknown(PeerError):
    """The member answers that it does not have it."""


class PeerExpired(PeerError):
    """The member answers that it dropped it after the retention."""


class PeerMisbehaved(PeerError):
    """The answer breaks the protocol; `sent` is what the member sent, cut at the limit of its answer."""

    def __init__(self, member: str, reason: str, sent: bytes) -> None:
        super().__init__(member, reason)
        self.sent = sent
