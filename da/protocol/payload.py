"""Payload ids: the commitment that a rollup keeps for a payload.

The idea: payload_id = sha256("cellar/payload/v1" || u64be(length) || u32be(rows) || commitments), over the
commitments of the payload's own rows. It binds the bytes (the packing of bytes into rows is unique and the
commitments bind the rows) and does not depend on the batch that carries them.

Does not: compute commitments (see kzg), or pack bytes (see erasure.packing).
"""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import numpy.typing as npt

from da.protocol.codec import u32, u64
from da.protocol.errors import InvalidProposal
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
