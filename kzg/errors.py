"""What can go wrong in `kzg`, as one tree for the caller's mistakes and one for the engine's.

    KzgError(ValueError)              the input is malformed: the same call can never succeed
    |- InvalidArray                   wrong shape or dtype             .name .expected .actual
    |- LengthMismatch                 arrays that must be equally long .name .actual .expected
    |- InvalidBlob                    an element of a row is >= r      .row .element
    |- InvalidCell                    an element of a cell is >= r     .position .element
    |- InvalidCellIndex               not in 0..127, or not ascending  .position .index .reason
    |- InvalidRowIndex                not in 0..2R-1                   .position .index .rows
    |- NotEnoughCells                 fewer than half to recover from  .actual .required
    |- InvalidPoint                   not a point of the group         .name .position
    |- InvalidScalar                  not a canonical field element    .name
    EngineError(RuntimeError)         the input may be fine
    |- EngineUnavailable              the engine cannot run here        .engine .reason
    |- EngineFailed                   it broke down during this call: try again
    |- EngineClosed                   it was closed, or belongs to another process
    TrustedSetupError(RuntimeError)   the packaged setup is damaged

A proof that is well-formed and wrong is not an error: `verify_*` answers False.
"""

from __future__ import annotations


class KzgError(ValueError):
    """The caller's input is malformed."""


class InvalidArray(KzgError):
    def __init__(self, name: str, expected: str, actual: str) -> None:
        super().__init__(f"{name}: expected {expected}, got {actual}")
        self.name, self.expected, self.actual = name, expected, actual


class LengthMismatch(KzgError):
    def __init__(self, name: str, actual: int, expected: int) -> None:
        super().__init__(f"{name}: expected {expected} items, got {actual}")
        self.name, self.actual, self.expected = name, actual, expected


class InvalidBlob(KzgError):
    def __init__(self, row: int, element: int) -> None:
        super().__init__(f"element {element} of blob {row} is not a canonical field element")
        self.row, self.element = row, element


class InvalidCell(KzgError):
    def __init__(self, position: int, element: int) -> None:
        super().__init__(f"element {element} of cell {position} is not a canonical field element")
        self.position, self.element = position, element


class InvalidCellIndex(KzgError):
    def __init__(self, position: int, index: int, reason: str) -> None:
        super().__init__(f"cell index {index} at position {position} {reason}")
        self.position, self.index, self.reason = position, index, reason


class InvalidRowIndex(KzgError):
    def __init__(self, position: int, index: int, rows: int) -> None:
        super().__init__(f"row index {index} at position {position} is not in 0..{2 * rows - 1}")
        self.position, self.index, self.rows = position, index, rows


class NotEnoughCells(KzgError):
    def __init__(self, actual: int, required: int) -> None:
        super().__init__(f"recovering a row needs {required} cells, got {actual}")
        self.actual, self.required = actual, required


class InvalidPoint(KzgError):
    def __init__(self, name: str, position: int) -> None:
        super().__init__(f"{name} {position} is not the canonical encoding of a point of G1")
        self.name, self.position = name, position


class InvalidScalar(KzgError):
    def __init__(self, name: str, reason: str = "is not a canonical field element") -> None:
        super().__init__(f"{name} {reason}")
        self.name = name


class EngineError(RuntimeError):
    """The engine cannot answer; the input may be fine."""


class EngineUnavailable(EngineError):
    def __init__(self, engine: str, reason: str) -> None:
        super().__init__(f"engine {engine!r} is not available: {reason}")
        self.engine, self.reason = engine, reason


class EngineFailed(EngineError):
    """The engine broke down during the call; the next call starts it again."""


class EngineClosed(EngineError):
    """The engine was closed, perhaps while this call waited, or it belongs to another process."""


class TrustedSetupError(RuntimeError):
    """The trusted setup in the package is missing or damaged."""
