"""The host library, where it is built and can run."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

from gpu import host_engine


@pytest.fixture(scope="session")
def library() -> ctypes.CDLL:
    """The loaded library with its probes; skips, with the reason, where the host engine cannot run."""
    reason = host_engine.available()
    if reason is not None:
        pytest.skip(f"no host engine here: {reason}")
    return host_engine._library()


@pytest.fixture(scope="session")
def field_op(library: ctypes.CDLL) -> Callable[..., list[int]]:
    """field_op(field, op, a, b, c): an operation on stored values, given and returned as integers."""

    def run(field: str, op: int, *operands: list[int]) -> list[int]:
        limbs = {"Fp": 8, "Fr": 5}[field]
        count = len(operands[0])
        size = -(-count // 8) * 8
        arrays = [
            np.array(
                [
                    [value >> 52 * i & (1 << 52) - 1 for i in range(limbs)]
                    for value in operand + [0] * (size - count)
                ],
                dtype=np.uint64,
            )
            for operand in (*operands, *[operands[0]] * (3 - len(operands)))
        ]
        out = np.zeros((size, limbs), dtype=np.uint64)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*arrays, out)]
        assert library.cellar_probe_field(int(field == "Fp"), op, *pointers, size) == 1
        assert (out >> 52 == 0).all(), "limbs are not normalised"
        return [sum(int(limb) << 52 * i for i, limb in enumerate(row)) for row in out[:count]]

    return run
