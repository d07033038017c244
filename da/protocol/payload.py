"""Payload ids: the commitment that a rollup keeps for a payload.

The idea: payload_id = sha256("cellar/payload/v1" || u64be(length) || u32be(rows) || commitments), over the
commitments of the payload's own rows. It binds the bytes (the packing of bytes into rows is unique and the
commitments bind the rows) and does not depend on the batch that carries them.

A disperser can get an id certified whose rows are no packing. `check_element` is what a holder of column 0
can see of that before it signs, `decode_rows` what each reader does. Both depend on rows and length alone, so
all readers of one id have the same bytes, or the same error.

Does not: compute commitments (see kzg), or pack bytes (see erasure.packing).
"""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import numpy.typing as npt

from da.protocol.codec import u32, u64
from da.protocol.errors import InvalidProposal, UndecodableRows
from erasure.constants import BYTES_PER_FIELD_ELEMENT
from erasure.errors import InvalidPacking
from erasure.packing import head, unpack
from kzg.constants import BYTES_PER_COMMITMENT

_DOMAIN = b"cellar/payload/v1"


def payload_id(length: int, commitments: npt.NDArray[np.uint8]) -> bytes:
    """The id of a payload.

    Args:
        length: bytes of the payload.
        commitments: u8[rows,48], compressed G1, of the payload's rows in order.
    Returns: bytes[32].
    Raises: InvalidProposal for a length out of range or a wrong shape.
    """
    if commitments.ndim != 2 or commitments.shape[1] != BYTES_PER_COMMITMENT or commitments.dtype != np.uint8:
        raise InvalidProposal(
            "commitments", f"must be uint8[rows, 48]; got {commitments.dtype}{list(commitments.shape)}"
        )
    if not 0 <= length < 2**64:
        raise InvalidProposal("length", f"must be in 0..2^64-1; got {length}")
    prefix = _DOMAIN + u64(length) + u32(commitments.shape[0])
    return sha256(prefix + commitments.tobytes()).digest()


def check_element(length: int, element: bytes) -> None:
    """That element 0 of a payload's first row is that of a payload of `length` bytes.

    Args: element bytes[32], from the front of the cell in the first row and column 0.
    Raises UndecodableRows.
    """
    if element != head(length):
        raise UndecodableRows(f"the rows do not begin with the version and the listed length, {length} bytes")


def decode_rows(length: int, rows: npt.NDArray[np.uint8]) -> bytes:
    """The payload of `length` bytes that rows u8[rows,131072] hold. Raises UndecodableRows."""
    check_element(length, rows[0, :BYTES_PER_FIELD_ELEMENT].tobytes())
    try:
        return unpack(rows)
    except InvalidPacking as error:
        raise UndecodableRows(str(error)) from None
