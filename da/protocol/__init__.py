"""The protocol: what is signed, hashed, sent and proven. Its only I/O is reading a committee file.

Flow: a disperser makes a PayloadList and a Header, proposes it (sign_header), pushes columns
(encode_prelude); members check (ColumnPush, check_proposer), attest (Attestation), and enough attestations
make a Certificate. `namespace`, `merkle` and `codec` are used as modules.
"""

from da.protocol.attestation import Attestation, attestation_message
from da.protocol.certificate import Certificate
from da.protocol.committee import Committee, Member, member_id
from da.protocol.custody import Finality, assignment, columns_of, finality, holders_of
from da.protocol.errors import (
    DecodeError,
    InvalidCertificate,
    InvalidCommittee,
    InvalidHeader,
    InvalidNamespace,
    InvalidPayloadList,
    InvalidProof,
    InvalidProposal,
    InvalidPush,
    InvalidSignature,
    ProtocolError,
)
from da.protocol.header import HEADER_BYTES, ZERO_HASH, Header, proposal_message
from da.protocol.merkle import commitments_root
from da.protocol.namespace import Namespace
from da.protocol.payload import payload_id
from da.protocol.payload_list import (
    InclusionProof,
    NamespaceProof,
    PayloadEntry,
    PayloadList,
    verify_inclusion,
    verify_namespace,
)
from da.protocol.proposal import Proposal, VerifiedProposal, check_contents, check_proposer, sign_header
from da.protocol.push import RECORD_BYTES, ColumnPush, PushPrelude, encode_prelude, push_bytes
from da.protocol.push_signature import push_message, sign_push, verify_push

__all__ = [
    "HEADER_BYTES",
    "RECORD_BYTES",
    "ZERO_HASH",
    "Attestation",
    "Certificate",
    "ColumnPush",
    "Committee",
    "DecodeError",
    "Finality",
    "Header",
    "InclusionProof",
    "InvalidCertificate",
    "InvalidCommittee",
    "InvalidHeader",
    "InvalidNamespace",
    "InvalidPayloadList",
    "InvalidProof",
    "InvalidProposal",
    "InvalidPush",
    "InvalidSignature",
    "Member",
    "Namespace",
    "NamespaceProof",
    "PayloadEntry",
    "PayloadList",
    "Proposal",
    "ProtocolError",
    "PushPrelude",
    "VerifiedProposal",
    "assignment",
    "attestation_message",
    "check_contents",
    "check_proposer",
    "columns_of",
    "commitments_root",
    "encode_prelude",
    "finality",
    "holders_of",
    "member_id",
    "payload_id",
    "proposal_message",
    "push_bytes",
    "push_message",
    "sign_header",
    "sign_push",
    "verify_inclusion",
    "verify_namespace",
    "verify_push",
]
