"""Batch headers: the 188 bytes that a disperser proposes and members attest.

The idea: a header binds its place in the disperser's log (chain id, disperser, height, parent), who may
attest (committee hash), and what the batch is (rows, payloads, commitments). Its hash is
sha256("cellar/header/v1" || encoding); heights form one hash chain per disperser, from 1 with a parent of
zeros. Two headers of one disperser at one height are evidence of equivocation.

Invariants: fixed width, one encoding for one header; field ranges are checked when a Header is made.

Does not: check signatures (see proposal, certificate), or that a header extends a log (see da.member).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from da.protocol.codec import HASH_BYTES, U64_MAX, Reader, u16, u64
from da.protocol.errors import InvalidHeader
from erasure.constants import MAX_ROWS

HEADER_VERSION = 1
HEADER_BYTES = 188
FIRST_HEIGHT = 1
ZERO_HASH = bytes(HASH_BYTES)

_HASH_DOMAIN = b"cellar/header/v1"
_PROPOSE_DOMAIN = b"cellar/propose/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One batch of one disperser. Raises InvalidHeader when a field is out of range.

    chain_id u64; disperser_id bytes[32], the member id; height u64, the first is 1; timestamp_ms u64, Unix
    time in milliseconds; parent bytes[32], the hash of the header before, zeros at height 1; committee_hash
    bytes[32]; row_count 1..256, the data rows R; payloads_root, commitments_root bytes[32].
    """

    version: int = HEADER_VERSION
    chain_id: int
    disperser_id: bytes
    height: int
    timestamp_ms: int
    parent: bytes
    committee_hash: bytes
    row_count: int
    payloads_root: bytes
    commitments_root: bytes

    def __post_init__(self) -> None:
        if self.version != HEADER_VERSION:
            raise InvalidHeader("version", f"must be {HEADER_VERSION}; got {self.version}")
        for field in ("chain_id", "height", "timestamp_ms"):
            if not 0 <= getattr(self, field) <= U64_MAX:
                raise InvalidHeader(field, "must be in 0..2^64-1")
        for field in ("disperser_id", "parent", "committee_hash", "payloads_root", "commitments_root"):
            if len(getattr(self, field)) != HASH_BYTES:
                raise InvalidHeader(field, f"must be {HASH_BYTES} bytes; got {len(getattr(self, field))}")
        if self.height < FIRST_HEIGHT:
            raise InvalidHeader("height", f"must be at least {FIRST_HEIGHT}; got {self.height}")
        if (self.height == FIRST_HEIGHT) != (self.parent == ZERO_HASH):
            raise InvalidHeader("parent", f"must be zeros at height {FIRST_HEIGHT}, and only there")
        if not 1 <= self.row_count <= MAX_ROWS:
            raise InvalidHeader("row_count", f"must be in 1..{MAX_ROWS}; got {self.row_count}")

    def encode(self) -> bytes:
        """The 188 bytes of docs/reference/wire-formats.md."""
        return b"".join(
            (
                u16(self.version),
                u64(self.chain_id),
                self.disperser_id,
                u64(self.height),
                u64(self.timestamp_ms),
                self.parent,
                self.committee_hash,
                u16(self.row_count),
                self.payloads_root,
                self.commitments_root,
            )
        )

    @classmethod
    def decode(cls, header_bytes: bytes | bytearray | memoryview) -> Header:
        """The header of exactly 188 bytes. Raises DecodeError (length) or InvalidHeader (a field)."""
        reader = Reader(header_bytes)
        header = cls.read(reader)
        reader.finish("header")
        return header

    @classmethod
    def read(cls, reader: Reader) -> Header:
        """The header at the front of `reader`."""
        return cls(
            version=reader.u16("version"),
            chain_id=reader.u64("chain_id"),
            disperser_id=reader.fixed(HASH_BYTES, "disperser_id"),
            height=reader.u64("height"),
            timestamp_ms=reader.u64("timestamp_ms"),
            parent=reader.fixed(HASH_BYTES, "parent"),
            committee_hash=reader.fixed(HASH_BYTES, "committee_hash"),
            row_count=reader.u16("row_count"),
            payloads_root=reader.fixed(HASH_BYTES, "payloads_root"),
            commitments_root=reader.fixed(HASH_BYTES, "commitments_root"),
        )

    @property
    def hash(self) -> bytes:
        """sha256("cellar/header/v1" || encoding): the batch's identity."""
        return sha256(_HASH_DOMAIN + self.encode()).digest()


def proposal_message(header: Header) -> bytes:
    """The message the disperser signs: sha256("cellar/propose/v1" || header hash), bytes[32]."""
    return sha256(_PROPOSE_DOMAIN + header.hash).digest()
