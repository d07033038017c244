"""Errors of the protocol: every decoder and check raises one of these, for any input.

    ProtocolError(ValueError)
      DecodeError            bytes that are not a valid encoding: field, reason
      InvalidJson            a document that is not strict JSON, or exceeds a size or depth limit: reason
      InvalidNamespace       an invalid namespace text or bytes: reason
      InvalidHeader          a header's field is out of range: field, reason
      InvalidPayloadList     an entry or the order of entries: index, reason
      InvalidProof           a Merkle proof with an impossible shape: reason
      InvalidCommittee       an invalid committee file or value: field, reason
      InvalidProposal        a header, signature, payload list or commitments that fail a check: check, reason
      InvalidSignature       an attestation's invalid signature or signer: reason
      InvalidCertificate     a certificate that fails a check: check, reason
      InvalidPush            a column push with an invalid shape: field, reason
      InvalidHandover        a handover between two committees that fails a check: check, reason
      UnknownCommittee       a header of a committee that a chain of committees does not have: committee_hash
      InvalidEvidence        the proof of a payload, or its bytes, that fail a check: check, reason
      UndecodableRows        rows that are not the packing of a payload of the listed length: reason
      CommitteeEnded         a header dated after its committee's certificates ended: epoch, valid_until_s

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
    """The bytes are not a canonical encoding; `field` is where the decoder stopped."""


class InvalidJson(_ReasonError):
    """A document that is not strict JSON, or exceeds a limit; the reason says which, without quoting it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the document {reason}")
        self.reason = reason


class InvalidNamespace(_ReasonError):
    """Not 32 bytes, 0x followed by 64 hex digits, or a short name."""


class InvalidHeader(_FieldError):
    """A header's field is out of its range."""


class InvalidPayloadList(ProtocolError):
    """Entry `index` is out of range, out of order, or leaves a gap; None: the list as a whole is invalid."""

    def __init__(self, index: int | None, reason: str) -> None:
        super().__init__(reason if index is None else f"entry {index}: {reason}")
        self.index = index
        self.reason = reason


class InvalidProof(_ReasonError):
    """A proof with an impossible shape. (Verifying a well-formed but wrong proof returns False.)"""


class InvalidProposal(ProtocolError):
    """A proposal that fails a check.

    `check` is one of: chain, committee, disperser, signature, rows, payloads_root, commitments_root,
    payload_id.
    """

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(f"{check}: {reason}")
        self.check = check
        self.reason = reason


class UndecodableRows(_ReasonError):
    """The rows that a payload id binds are not the packing of a payload of its length."""


class InvalidEvidence(ProtocolError):
    """The proof of a payload or its bytes fail a check of da/protocol/evidence.py, which `check` names."""

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(f"{check}: {reason}")
        self.check = check
        self.reason = reason


class InvalidCommittee(_FieldError):
    """An invalid committee JSON or value; `field` is the path, such as members[3].stake."""


class InvalidSignature(_ReasonError):
    """The signature is invalid, or its signer may not sign."""


class InvalidCertificate(ProtocolError):
    """A certificate that fails a check.

    `check` is one of: chain, committee, size, signers, disperser, stake, slots, signature.
    """

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(f"{check}: {reason}")
        self.check = check
        self.reason = reason


class InvalidPush(_FieldError):
    """A column push with an invalid shape: columns out of order, or a body of the wrong length."""


class InvalidHandover(ProtocolError):
    """A handover that fails a check.

    `check` is one of: chain, epoch, committee, next, addresses, length, size, signers, stake, signature,
    possession.
    """

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(f"{check}: {reason}")
        self.check = check
        self.reason = reason


class UnknownCommittee(ProtocolError):
    """The chain of committees has no committee with this hash; a later link may bring it."""

    def __init__(self, committee_hash: bytes) -> None:
        super().__init__(f"no known committee has the hash 0x{committee_hash.hex()}")
        self.committee_hash = committee_hash


class CommitteeEnded(ProtocolError):
    """The header is dated after the time until which its committee's certificates are valid."""

    def __init__(self, epoch: int, valid_until_s: int) -> None:
        super().__init__(f"certificates of epoch {epoch} are valid for headers up to second {valid_until_s}")
        self.epoch = epoch
        self.valid_until_s = valid_until_s
