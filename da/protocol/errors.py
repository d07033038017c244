"""Errors of the protocol: every decoder and check raises one of these, for any input.

    ProtocolError(ValueError)
      DecodeError            bytes that are no encoding: field, reason
      InvalidJson            a JSON document that is none, or is too large or deep to be read: reason
      InvalidNamespace       a namespace text or bytes: reason
      InvalidHeader          a header's field is out of range: field, reason
      InvalidPayloadList     an entry or the order of entries: index, reason
      InvalidProof           a Merkle proof's shape cannot be right: reason
      InvalidCommittee       a committee's file or values: field, reason
      InvalidProposal        a header, signature, payload list or commitments that do not hold: check, reason
      InvalidSignature       an attestation's signature or signer: reason
      InvalidCertificate     a certificate that does not convince: check, reason
      InvalidPush            a column push's shape: field, reason

Does not: choose HTTP status codes (see da.api).
"""

from __future__ import annotations


class ProtocolError(ValueError):
    """Base of the protocol's errors."""


class _FieldError(ProtocolError):
    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class _ReasonError(ProtocolError):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DecodeError(_FieldError):
    """The bytes are no canonical encoding; `field` is where the decoder stopped."""


class InvalidJson(_ReasonError):
    """A document that is not strict JSON, or goes past a bound; the reason says which and quotes nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the document {reason}")
        self.reason = reason


class InvalidNamespace(_ReasonError):
    """Neither 32 bytes, nor 0x and 64 hex digits, nor a short name."""


class InvalidHeader(_FieldError):
    """A header's field is out of its range."""


class InvalidPayloadList(ProtocolError):
    """Entry `index` is out of range, out of order, or leaves a gap; None when the list as a whole is."""

    def __init__(self, index: int | None, reason: str) -> None:
        super().__init__(reason if index is None else f"entry {index}: {reason}")
        self.index = index
        self.reason = reason


class InvalidProof(_ReasonError):
    """A proof whose shape cannot be right. (A well-formed proof that does not hold verifies as False.)"""


class InvalidProposal(ProtocolError):
    """A proposal that must not be believed.

    `check` is one of: chain, committee, disperser, signature, rows, payloads_root, commitments_root,
    payload_id.
    """

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(f"{check}: {reason}")
        self.check = check
        self.reason = reason


class InvalidCommittee(_FieldError):
    """A committee's JSON or its values; `field` names where, as in members[3].stake."""


class InvalidSignature(_ReasonError):
    """A signature, or the right of its signer, does not hold."""


class InvalidCertificate(ProtocolError):
    """A certificate that does not convince.

    `check` is one of: chain, committee, size, signers, disperser, stake, slots, signature.
    """

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(f"{check}: {reason}")
        self.check = check
        self.reason = reason


class InvalidPush(_FieldError):
    """The shape of a column push: columns out of order, or a body of another length than it states."""
