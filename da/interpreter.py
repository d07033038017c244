"""Protects interpreter-wide settings from imported packages that change them.

The idea: py_ecc (imported by eth-keyfile and eth-account) and py-evm raise the recursion limit to 100,000
when they are imported, for contracts that call 1,024 deep. C functions that call themselves (json, repr, a
comparison) then overrun the thread's stack and end the process, instead of raising RecursionError. Cellar
uses nothing from these packages that needs more than CPython's default limit.

Invariants: every import of such a package is within `recursion_limit_kept`; a test imports every module of
every program and compares the interpreter's settings before and after.

Does not: bound the depth of documents, which is done before they are parsed (da/protocol/strict_json.py).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# CPython's default is 1,000. The usual thread stack of 8 MiB holds at least 3,300 nested calls, measured with
# Python functions called back by `sorted`, the largest frames found; nested JSON overruns it after 64,000.
RECURSION_LIMIT_MAX = 3_000

_lock = threading.Lock()
_entered = 0
_kept = 0


class UnsafeRecursionLimit(RuntimeError):
    """The recursion limit is higher than a thread's stack can safely hold."""

    def __init__(self, actual: int) -> None:
        super().__init__(
            f"the interpreter's recursion limit is {actual}, above {RECURSION_LIMIT_MAX}: deep recursion "
            "would crash the process; do not call sys.setrecursionlimit or import packages that do"
        )
        self.actual = actual


@contextmanager
def recursion_limit_kept() -> Iterator[None]:
    """Restore the recursion limit after an import that raises it.

    Several threads may be inside at once: the limit is read when the first one enters, and restored by each
    that leaves, so the last one undoes every change made inside. The lock is not held during the import,
    which takes its own locks.
    """
    global _entered, _kept
    with _lock:
        if not _entered:
            _kept = sys.getrecursionlimit()
        _entered += 1
    try:
        yield
    finally:
        with _lock:
            _entered -= 1
            sys.setrecursionlimit(_kept)


def check_recursion_limit() -> None:
    """Raises UnsafeRecursionLimit."""
    limit = sys.getrecursionlimit()
    if limit > RECURSION_LIMIT_MAX:
        raise UnsafeRecursionLimit(limit)
