"""Column pushes: the one body in which a disperser sends a member its columns.

The idea: a prelude (header, the disperser's signature, its signature for this member, payload list,
commitments, which columns), then for each column, ascending, its R records of cell and proof, row by row.
The first PUSH_HEAD_BYTES show who sends it, before anything else is read; the prelude says how long the body
is, to the byte.

Invariants: sizes are checked against the bytes at hand before anything is allocated; the records are a
read-only view of the body, never copied here.

Does not: verify the proposal or the cells (see proposal, da.member.ingest).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from da.bls import SIGNATURE_BYTES
from da.protocol.codec import Reader, u8
from da.protocol.columns import Records
from da.protocol.custody import COLUMNS
from da.protocol.errors import InvalidPush
from da.protocol.header import HEADER_BYTES, Header
from da.protocol.payload_list import ENTRY_BYTES, MAX_ENTRIES, PayloadList
from da.protocol.proposal import Proposal, VerifiedProposal
from erasure.constants import BYTES_PER_CELL, MAX_ROWS
from kzg.constants import BYTES_PER_COMMITMENT, BYTES_PER_PROOF

RECORD_BYTES = BYTES_PER_CELL + BYTES_PER_PROOF
PUSH_HEAD_BYTES = HEADER_BYTES + 2 * SIGNATURE_BYTES
MAX_PRELUDE_BYTES = (
    PUSH_HEAD_BYTES + 2 + MAX_ENTRIES * ENTRY_BYTES + MAX_ROWS * BYTES_PER_COMMITMENT + 1 + COLUMNS
)
MAX_PUSH_BYTES = MAX_PRELUDE_BYTES + MAX_ROWS * COLUMNS * RECORD_BYTES


def encode_prelude(
    proposal: Proposal | VerifiedProposal, push_signature: bytes, column_indices: Iterable[int]
) -> bytes:
    """Everything of a push before its records. Raises InvalidPush."""
    columns = tuple(int(column) for column in column_indices)
    _check_columns(columns)
    for name, signature in (
        ("disperser_signature", proposal.disperser_signature),
        ("push_signature", push_signature),
    ):
        if len(signature) != SIGNATURE_BYTES:
            raise InvalidPush(name, f"is not {SIGNATURE_BYTES} bytes")
    return b"".join(
        (
            proposal.header.encode(),
            proposal.disperser_signature,
            push_signature,
            proposal.payload_list.encode(),
            proposal.commitments.tobytes(),
            u8(len(columns)),
            bytes(columns),
        )
    )


def push_bytes_max(columns: int) -> int:
    """The longest push of that many columns: a batch of 256 rows."""
    return MAX_PRELUDE_BYTES + MAX_ROWS * columns * RECORD_BYTES


def push_bytes(rows: int, columns: int, prelude: bytes) -> int:
    """Length of the whole body, prelude included."""
    return len(prelude) + rows * columns * RECORD_BYTES


@dataclass(frozen=True, slots=True)
class PushPrelude:
    """What comes before the records; `size` is its length in bytes, `body_size` that of the whole push.

    proposal: as received, its commitments read-only; push_signature bytes[96], not checked; columns
    ascending, perhaps none (a member whose stake earns no column still attests).
    """

    proposal: Proposal
    push_signature: bytes
    columns: tuple[int, ...]
    size: int

    @property
    def body_size(self) -> int:
        """Bytes of the whole push."""
        return self.size + self.proposal.header.row_count * len(self.columns) * RECORD_BYTES

    @classmethod
    def read(cls, body: bytes | bytearray | memoryview) -> PushPrelude:
        """The prelude at the front of `body`, of which the first MAX_PRELUDE_BYTES are always enough.

        Raises DecodeError, InvalidHeader, InvalidPayloadList or InvalidPush.
        """
        reader = Reader(body)
        header = Header.read(reader)
        signature = reader.fixed(SIGNATURE_BYTES, "disperser_signature")
        push_signature = reader.fixed(SIGNATURE_BYTES, "push_signature")
        payload_list = PayloadList.read(reader)
        commitment_bytes = reader.fixed(header.row_count * BYTES_PER_COMMITMENT, "commitments")
        commitments = np.frombuffer(commitment_bytes, np.uint8).reshape(
            header.row_count, BYTES_PER_COMMITMENT
        )
        columns = tuple(reader.take(reader.u8("column_count"), "columns"))
        _check_columns(columns)
        proposal = Proposal(header, signature, payload_list, commitments)
        return cls(proposal, push_signature, columns, reader.offset)


@dataclass(frozen=True, slots=True)
class ColumnPush:
    """A whole push as received: nothing is verified. records u8[c,R,2096], a read-only view of the body."""

    proposal: Proposal
    push_signature: bytes
    columns: tuple[int, ...]
    records: Records

    @property
    def header(self) -> Header:
        """The header of the batch."""
        return self.proposal.header

    @classmethod
    def decode(cls, body: bytes | bytearray | memoryview) -> ColumnPush:
        """The push that `body` is, to the last byte. The records stay in `body`, so keep it unchanged.

        Raises what PushPrelude.read raises, and InvalidPush when the length is not what the prelude says.
        """
        view = memoryview(body).cast("B").toreadonly()
        prelude = PushPrelude.read(view)
        if prelude.body_size != len(view):
            raise InvalidPush("body", f"is {len(view)} bytes, the prelude says {prelude.body_size}")
        shape = (len(prelude.columns), prelude.proposal.header.row_count, RECORD_BYTES)
        records = np.frombuffer(view[prelude.size :], np.uint8).reshape(shape)
        return cls(prelude.proposal, prelude.push_signature, prelude.columns, records)

    def encode(self) -> bytes:
        """The whole body; senders of large ones stream prelude and columns instead."""
        return encode_prelude(self.proposal, self.push_signature, self.columns) + self.records.tobytes()


def _check_columns(columns: Sequence[int]) -> None:
    if any(not 0 <= column < COLUMNS for column in columns):
        raise InvalidPush("columns", f"are not all in 0..{COLUMNS - 1}")
    if any(before >= after for before, after in pairwise(columns)):
        raise InvalidPush("columns", "are not ascending")
