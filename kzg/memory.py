"""Lack of memory as an engine's failure: a call that cannot allocate an array raises EngineFailed.

Without this, more rows than memory would come out as a MemoryError of numpy, which is no error of the port.
What has been allocated is given back with the call; the next, smaller one may succeed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, TypeVar

from kzg.errors import EngineFailed

OPERATIONS: Final = (
    "commit",
    "extend",
    "prove",
    "recover_with_proofs",
    "verify_cells",
    "recover",
    "recover_proofs",
    "parity_cells",
    "parity_proofs",
    "verify_matrix_cells",
)
"""What provers and verifiers compute (`kzg.engine`)."""

E = TypeVar("E")


def fails_without_memory(engine: type[E]) -> type[E]:
    """A class decorator: each operation that it defines raises EngineFailed in place of a MemoryError."""
    for name in OPERATIONS:
        if name in vars(engine):
            setattr(engine, name, _failing(getattr(engine, name)))
    return engine


def _failing(operation: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(operation)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return operation(*arguments, **named)
        except MemoryError as error:
            raise EngineFailed(f"not enough memory for this call: {error}") from error

    return call
