"""What the package raises. Bad input of the caller is one of these; an internal error is an assertion.

ErasureError (ValueError)
|-- InvalidShape            an array of the wrong shape or dtype, a count out of range
|-- InvalidFieldElement     32 bytes that are not smaller than the modulus: row, index
|-- InvalidPayload          a payload that is empty or too long: length, limit
|-- InvalidPacking          rows that are not the one encoding of any payload: reason
|-- InvalidCellIndices      cell or row indices out of range, repeated or out of order
|-- NotEnoughCells          fewer cells or rows than the code needs: actual, required
|-- UnrecoverableMatrix     a matrix with too much missing: rows, columns
`-- InvalidBackup           a printed backup beyond repair: reason
"""

from __future__ import annotations


class ErasureError(ValueError):
    """Base of all errors of this package."""


class InvalidShape(ErasureError):
    """An array has the wrong shape or dtype, or a count is out of range."""


class InvalidFieldElement(ErasureError):
    """An encoded element is not smaller than the modulus.

    Attributes:
        row: index of the blob or row in the array that was given.
        index: index of the element in its row (of 4096 in a blob, of 8192 in a row's extension).
    """

    def __init__(self, row: int, index: int) -> None:
        super().__init__(f"element {index} of row {row} is not smaller than the field's modulus")
        self.row = row
        self.index = index


class InvalidPayload(ErasureError):
    """A payload is empty or longer than the limit.

    Attributes:
        length: its length in bytes.
        limit: the largest length allowed.
    """

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(f"a payload must have 1..{limit} bytes, got {length}")
        self.length = length
        self.limit = limit


class InvalidPacking(ErasureError):
    """Rows are not the encoding of a payload; `reason` is what is wrong."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"rows do not encode a payload: {reason}")
        self.reason = reason


class InvalidCellIndices(ErasureError):
    """Indices are out of range, repeated or not ascending; `reason` is which."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid indices: {reason}")
        self.reason = reason


class NotEnoughCells(ErasureError):
    """Fewer cells (of a row) or rows (of a column) are there than the code needs.

    Attributes:
        actual: how many there are.
        required: how many it takes.
    """

    def __init__(self, actual: int, required: int) -> None:
        super().__init__(f"at least {required} are needed, got {actual}")
        self.actual = actual
        self.required = required


class UnrecoverableMatrix(ErasureError):
    """Neither rows nor columns can be rebuilt any further, and cells are still missing.

    Attributes:
        rows: ascending indices (0..2R-1) of the rows that cannot be completed.
        columns: ascending indices (0..127) of the columns that cannot be completed.
    """

    def __init__(self, rows: tuple[int, ...], columns: tuple[int, ...]) -> None:
        super().__init__(
            f"cells cannot be recovered in {len(rows)} rows ({_shorten(rows)}) "
            f"and {len(columns)} columns ({_shorten(columns)})"
        )
        self.rows = rows
        self.columns = columns


class InvalidBackup(ErasureError):
    """A printed backup cannot be read; `reason` is why, never the content."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"backup cannot be read: {reason}")
        self.reason = reason


def _shorten(indices: tuple[int, ...], limit: int = 8) -> str:
    """The first few indices of a list that may have hundreds."""
    head = ", ".join(map(str, indices[:limit]))
    return head if len(indices) <= limit else f"{head}, ..."
