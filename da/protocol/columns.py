"""Columns of cells with their proofs, and whether they were verified: the type says so.

Records of a column come from a push or from a peer as a plain array, in which nothing is verified. What is
stored and served takes `VerifiedRecords`. A type checker lets no plain array pass for one, and a test
(tests/da/test_imports.py) lists the few places that declare an array verified.

Does not: verify anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NewType

import numpy as np
import numpy.typing as npt

Records = npt.NDArray[np.uint8]
"""u8[R,2096]: the records, cell || proof, of one column, row 0 first; nothing is verified."""

VerifiedRecords = NewType("VerifiedRecords", npt.NDArray[np.uint8])
"""u8[R,2096]: records of a column, or of a range of its rows, that hold against verified commitments.

Each cell was verified against them, or was computed from the rows committed to, or was read with its checksum
from a store that takes nothing else.
"""

VerifiedColumns = Iterable[tuple[int, VerifiedRecords]]
"""(column 0..127, its records), in strictly ascending order."""
