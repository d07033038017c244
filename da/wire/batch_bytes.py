"""The batch document in binary: what a reader needs of a live batch, in half the bytes of the JSON.

    01 | header[188] | disperser signature[96] | payload list | commitments R x 48
       | certificate length u32, 0 for none | certificate | columns held, a bitmap[16]

Integers are big-endian; bit 7 of the bitmap's first byte is column 0. A batch in another state has the JSON
form alone (da/wire/batches.py).

Invariants: decode(encode(x)) is x, and one batch has one encoding.

Does not: verify anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from da.bls import SIGNATURE_BYTES
from da.protocol.certificate import MAX_CERTIFICATE_BYTES, Certificate
from da.protocol.codec import Reader, u32
from da.protocol.custody import COLUMNS
from da.protocol.errors import DecodeError, ProtocolError
from da.protocol.header import HEADER_BYTES, Header
from da.protocol.payload_list import ENTRY_BYTES, MAX_ENTRIES, PayloadList
from da.protocol.proposal import Proposal
from da.wire.batches import LiveBatch
from da.wire.errors import InvalidDocument
from erasure.constants import MAX_ROWS
from kzg.constants import BYTES_PER_COMMITMENT

_VERSION = b"\1"
_BITMAP_BYTES = COLUMNS // 8
BATCH_BYTES_MAX = (
    1
    + HEADER_BYTES
    + SIGNATURE_BYTES
    + (2 + MAX_ENTRIES * ENTRY_BYTES)
    + MAX_ROWS * BYTES_PER_COMMITMENT
    + 4
    + MAX_CERTIFICATE_BYTES
    + _BITMAP_BYTES
)


def encode(
    header: Header,
    disperser_signature: bytes,
    payload_list: PayloadList,
    commitments: npt.NDArray[np.uint8],
    certificate: bytes | None,
    columns: Sequence[int],
) -> bytes:
    """The document of a live batch."""
    held = np.zeros(COLUMNS, dtype=np.uint8)
    held[list(columns)] = 1
    raw = certificate or b""
    return b"".join(
        (
            _VERSION,
            header.encode(),
            disperser_signature,
            payload_list.encode(),
            commitments.tobytes(),
            u32(len(raw)),
            raw,
            np.packbits(held).tobytes(),
        )
    )


def decode(body: bytes) -> LiveBatch:
    """The document, to the last byte of `body`. Raises InvalidDocument."""
    try:
        return _read(Reader(body))
    except ProtocolError as error:
        raise InvalidDocument("batch", f"{type(error).__name__}: {error}") from None


def _read(reader: Reader) -> LiveBatch:
    if reader.fixed(1, "version") != _VERSION:
        raise DecodeError("version", "is not 1")
    header = Header.read(reader)
    signature = reader.fixed(SIGNATURE_BYTES, "disperser_signature")
    payload_list = PayloadList.read(reader)
    rows = reader.fixed(header.row_count * BYTES_PER_COMMITMENT, "commitments")
    length = reader.u32("certificate_length")
    if length > MAX_CERTIFICATE_BYTES:
        raise DecodeError("certificate_length", f"is over {MAX_CERTIFICATE_BYTES}")
    certificate = Certificate.decode(reader.fixed(length, "certificate")) if length else None
    held = np.unpackbits(np.frombuffer(reader.fixed(_BITMAP_BYTES, "columns"), dtype=np.uint8))
    reader.finish("batch")
    commitments = np.frombuffer(rows, dtype=np.uint8).reshape(header.row_count, BYTES_PER_COMMITMENT)
    columns = tuple(np.flatnonzero(held).tolist())
    return LiveBatch(Proposal(header, signature, payload_list, commitments), certificate, columns)
