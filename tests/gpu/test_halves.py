"""Scalars cut into two odd halves for the host engine's comb."""

from __future__ import annotations

import ctypes
import random

import numpy as np

from gpu.constants import LAMBDA, SCALAR_MODULUS


def awkward_scalars() -> list[int]:
    """Around the multiples of lambda that bounds depend on, quotients and remainders of both parities."""
    quotients = [q + d for q in (0, 1 << 52, 1 << 104, LAMBDA // 2, LAMBDA) for d in (-2, -1, 0, 1, 2)]
    remainders = [0, 1, 2, 3, (1 << 52) - 1, 1 << 52, 1 << 104, LAMBDA // 2, LAMBDA - 2, LAMBDA - 1]
    values = {q * LAMBDA + rest for q in quotients for rest in remainders}
    values |= {SCALAR_MODULUS - d for d in range(1, 6)} | {SCALAR_MODULUS // 2 + d for d in range(-2, 3)}
    values |= {(1 << k) + d for k in range(255) for d in (-1, 0, 1)}
    rng = random.Random(128)
    values |= {rng.randrange(SCALAR_MODULUS) for _ in range(500)}
    return sorted(value for value in values if 0 <= value < SCALAR_MODULUS)


def test_the_signed_bits_of_both_halves_make_the_scalar(library: ctypes.CDLL) -> None:
    scalars = awkward_scalars()
    scalars += [0] * (-len(scalars) % 8)
    split = [[value >> 64 * i & (1 << 64) - 1 for i in range(4)] for value in scalars]
    words = np.array(split, dtype=np.uint64)
    out = np.zeros_like(words)
    library.cellar_probe_recode(
        ctypes.c_void_p(words.ctypes.data), ctypes.c_void_p(out.ctypes.data), len(scalars)
    )
    for scalar, row in zip(scalars, out.tolist(), strict=True):
        first, second = (2 * (low | high << 64) - (1 << 128) + 1 for low, high in (row[:2], row[2:]))
        assert (first + LAMBDA * second - scalar) % SCALAR_MODULUS == 0, scalar
