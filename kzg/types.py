"""Names for bytes that were checked, and for the matrices that the Engine moves.

A `NewType` here means "this was validated": right length, canonical, in the group. Bytes from outside are
plain `bytes` (parameter names end in `_bytes`) until a function of this package has looked at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NewType

import numpy as np
import numpy.typing as npt

KZGCommitment = NewType("KZGCommitment", bytes)  # 48, compressed G1 point of the prime-order group
KZGProof = NewType("KZGProof", bytes)  # 48, the same
VersionedHash = NewType("VersionedHash", bytes)  # 32, 0x01 || sha256(commitment)[1:]

Bytes = npt.NDArray[np.uint8]  # any matrix of bytes; each docstring gives the shape
Indices = npt.NDArray[np.integer] | Sequence[int]  # what callers may pass where indices are asked for
IndexArray = npt.NDArray[np.int64]  # what they become
