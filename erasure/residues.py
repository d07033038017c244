"""Fr in residues: exact products of constant matrices with many elements, in float64.

The idea: matrix products are what numpy does fast, and float64 counts exactly up to 2**53. An element is
too wide for that, so it is held as its residues modulo K = 24 coprime numbers p_i of 23 bits. A product of
matrices over the integers is then K independent small ones, each exact; no entry of the true product comes
near half of M, the product of the p_i, so its residues y_i determine it. `fold` turns it into a small
integer with the same value modulo r, which costs one more product, with a constant K x (K+1) matrix:

    y = sum_i xi_i (M / p_i) - kappa M,   xi_i = y_i (M / p_i)^-1 mod p_i,   kappa = round(sum_i xi_i / p_i)
    y = sum_i xi_i (M / p_i mod r) + kappa (-M mod r)   (mod r)

The factor (M / p_i)^-1 is part of every constant (`constants`), so a product gives the xi at once.

Bounds, each asserted below with the numbers themselves:
- A residue is at most p_i / 2 + SLACK in size: q = rint(x * fl(1 / p_i)) misses the nearest integer to
  x / p_i only within |x / p_i| 2**-52 <= 2**-22 of a tie, which p_i times over is less than SLACK.
- A product has at most MAX_TERMS terms, so |x| <= MAX_TERMS (p / 2 + SLACK)**2, and |q p_i| <= |x| + p_i, are
  below 2**53: every sum, in any order in which BLAS adds it, and the reduction are exact.
- As integers, constants are in [0, r), and an operand is in [0, r) (`decode`) or at most
  (sum_i (p_i / 2 + SLACK) + K) r < 2**28 r in size (`fold`). So |y| < MAX_TERMS 2**28 r**2 < 2**-16 M,
  and kappa, rounded from a sum that is wrong by less than 2**-40, is exact.

Invariants: residues are float64[K, ...], whole numbers in the bound above; so are the first K planes of a
product, whose last plane is kappa.

What it does not do: know roots of unity, rows or codes; check that elements are canonical (`field.py`).

Source: base extension with a floating-point quotient: Kawamura, Koike, Sano and Shimbo, "Cox-Rower
Architecture for Fast Parallel Montgomery Multiplication", EUROCRYPT 2000.
"""

from __future__ import annotations

from itertools import pairwise
from math import gcd, isqrt, prod
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from erasure.constants import BLS_MODULUS, BYTES_PER_FIELD_ELEMENT, MAX_ROWS
from erasure.field import Bytes, elements_to_array

Residues: TypeAlias = NDArray[np.float64]
"""float64[K, ...]: elements, by their residues."""
Constants: TypeAlias = NDArray[np.float64]
"""float64[K, ...]: elements as one factor of a product, each residue times (M / p_i)^-1."""
Product: TypeAlias = NDArray[np.float64]
"""float64[K + 1, ...]: xi and kappa of an exact product."""

K: Final = 24
MAX_TERMS: Final = MAX_ROWS
SLACK: Final = 4
_EXACT: Final = 2**53


def _coprime_moduli(count: int, below: int) -> tuple[int, ...]:
    """The largest odd numbers under a bound that are pairwise coprime."""
    chosen: list[int] = []
    candidate = below - 1 - below % 2
    while len(chosen) < count:
        if all(gcd(candidate, modulus) == 1 for modulus in chosen):
            chosen.append(candidate)
        candidate -= 2
    return tuple(chosen)


MODULI: Final = _coprime_moduli(K, 2 * (isqrt(_EXACT // MAX_TERMS) - 2 * SLACK))
_M: Final = prod(MODULI)
_HALF: Final = max(MODULI) // 2 + SLACK
_FOLDED: Final = (K * _HALF + K) * BLS_MODULUS

assert K < MAX_TERMS  # the constant products below are shorter than the longest of the callers
assert MAX_TERMS * _HALF**2 + max(MODULI) < _EXACT
assert max(MODULI) < SLACK * 2**22
assert MAX_TERMS * _FOLDED * BLS_MODULUS < _M >> 16

_P: Final = np.array(MODULI, dtype=np.float64)[:, None]
_INVERSE_P: Final = 1.0 / _P

# Limbs: what the codec works with. 16-bit limbs go through float64 products, 32-bit ones are carried.
_LIMBS16: Final = BYTES_PER_FIELD_ELEMENT // 2
_LIMBS32: Final = BYTES_PER_FIELD_ELEMENT // 4
_MODULUS32: Final = tuple(BLS_MODULUS >> (32 * limb) & (2**32 - 1) for limb in range(_LIMBS32))
_QUOTIENT_GUARD: Final = 2.0**-19
_BLOCK: Final = 4096
"""Elements taken through a chain of array operations at a time, so that the temporaries stay in cache."""
_SINGLE_THREADED: Final = 2**18
"""Multiplications of one BLAS call up to which OpenBLAS starts no threads. Its threads spin while they wait
for each other: two of them on two busy cores took 90 ms for a row that one does in 4. So no call exceeds
this; to use more cores, use more processes, or threads of your own (numpy releases the GIL)."""
_STRIP: Final = _SINGLE_THREADED // (K * (K + 1)) // 64 * 64
"""Columns of a product with one of the small constant matrices below that stay within the limit."""


def _balanced(value: int, modulus: int) -> int:
    value %= modulus
    return value - modulus if value > modulus // 2 else value


_PRESCALE: Final = np.array([_balanced(pow(_M // p, -1, p), p) for p in MODULI], dtype=np.float64)[:, None]

# What xi_i and kappa stand for, modulo r.
_WEIGHTS: Final = (*((_M // p) % BLS_MODULUS for p in MODULI), -_M % BLS_MODULUS)
_FOLD: Final = np.array([[_balanced(weight, p) for weight in _WEIGHTS] for p in MODULI], dtype=np.float64)
_DECODE: Final = np.array(
    [[_balanced(1 << (16 * limb), p) for limb in reversed(range(_LIMBS16))] for p in MODULI], dtype=np.float64
)
# 16-bit limbs of the value that a product stands for, from the lowest, then its quotient by r.
_ENCODE: Final = np.array(
    [[weight >> (16 * limb) & 0xFFFF for weight in _WEIGHTS] for limb in range(_LIMBS16)]
    + [[weight / BLS_MODULUS for weight in _WEIGHTS]],
    dtype=np.float64,
)

# In the encoder a limb is at most (K + 1) _HALF 2**16, doubled in width and less quotient * 2**32: in int64.
# The quotient is at most _FOLDED / r < 2**28 and its estimate is wrong by less than (K + 1) 2**28 2**-52.
assert (K + 1) * _HALF * 2**16 < _EXACT
assert (K + 1) * _HALF * 2**16 * (2**16 + 1) + (_FOLDED // BLS_MODULUS) * 2**32 + 2**31 < 2**63
assert (K + 1) * 2.0 ** (28 - 52) < _QUOTIENT_GUARD
assert _FOLDED < BLS_MODULUS << 28


def decode(encoded: Bytes) -> Residues:
    """Residues of canonical elements.

    Args:
        encoded: u8[..., 32 k], C-contiguous, elements big-endian and canonical (the caller has checked).

    Returns:
        float64[K, ..., k].
    """
    shape = (K, *encoded.shape[:-1], encoded.shape[-1] // BYTES_PER_FIELD_ELEMENT)
    limbs = encoded.reshape(-1).view(">u2").reshape(-1, _LIMBS16)
    return _reduce(_combine(_DECODE, limbs.astype(np.float64).T)).reshape(shape)


def constants(elements: list[int], *shape: int) -> Constants:
    """Elements, in C order of `shape`, as a factor for `product` or `pointwise`; immutable, to be cached."""
    residues = decode(elements_to_array(elements)).reshape(K, -1)
    scaled = _reduce(residues * _PRESCALE).reshape(K, *shape)
    scaled.setflags(write=False)
    return scaled


def product(left: NDArray[np.float64], right: NDArray[np.float64]) -> Product:
    """Matrix product, one factor residues and the other constants.

    Args:
        left: float64[K, ..., m, t], t <= MAX_TERMS.
        right: float64[K, ..., t, n], as many axes; those between are broadcast.

    Returns:
        float64[K + 1, ..., m, n].
    """
    assert left.shape[-1] <= MAX_TERMS
    assert left.ndim == right.ndim
    stack = np.broadcast_shapes(left.shape[1:-2], right.shape[1:-2])
    out = np.empty((K + 1, *stack, left.shape[-2], right.shape[-1]), dtype=np.float64)
    strip = max(1, _SINGLE_THREADED // (right.shape[-2] * right.shape[-1]))
    for start in range(0, left.shape[-2], strip):
        rows = slice(start, start + strip)
        np.matmul(left[..., rows, :], right, out=out[:K, ..., rows, :])
    return _finish(out)


def pointwise(residues: Residues, factors: Constants) -> Product:
    """Element by element product with constants, shapes broadcast to that of the residues."""
    out = np.empty((K + 1, *residues.shape[1:]), dtype=np.float64)
    np.multiply(residues, factors, out=out[:K])
    return _finish(out)


def fold(exact: Product) -> Residues:
    """Residues of a small integer that is equal to the product modulo r, ready to be multiplied again."""
    flat = exact.reshape(K + 1, -1)
    return _reduce(_combine(_FOLD, flat)).reshape(K, *exact.shape[1:])


def encode(exact: Product) -> Bytes:
    """Canonical bytes of a product: u8[..., 32 k] for float64[K + 1, ..., k]."""
    flat = exact.reshape(K + 1, -1)
    encoded = np.empty((flat.shape[1], BYTES_PER_FIELD_ELEMENT), dtype=np.uint8)
    for start in range(0, flat.shape[1], _BLOCK):
        block = slice(start, start + _BLOCK)
        _encode_block(flat[:, block], encoded[block])
    return encoded.reshape(*exact.shape[1:-1], exact.shape[-1] * BYTES_PER_FIELD_ELEMENT)


def _combine(matrix: NDArray[np.float64], planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """A small constant matrix times float64[t, N], in strips."""
    out = np.empty((matrix.shape[0], planes.shape[1]), dtype=np.float64)
    for start in range(0, planes.shape[1], _STRIP):
        strip = slice(start, start + _STRIP)
        np.matmul(matrix, planes[:, strip], out=out[:, strip])
    return out


def _reduce(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whole numbers float64[K, N] below 2**53 in size to residues, in place."""
    for start in range(0, x.shape[1], _BLOCK):
        block = x[:, start : start + _BLOCK]
        quotient = block * _INVERSE_P
        np.rint(quotient, out=quotient)
        quotient *= _P
        block -= quotient
    return x


def _finish(out: Product) -> Product:
    """Reduce a product's planes to the xi and fill in kappa."""
    flat = out.reshape(K + 1, -1)
    _reduce(flat[:K])
    np.einsum("i,ij->j", _INVERSE_P[:, 0], flat[:K], out=flat[K])
    np.rint(flat[K], out=flat[K])
    return out


def _encode_block(exact: NDArray[np.float64], encoded: Bytes) -> None:
    """Write the canonical bytes of float64[K + 1, N] to u8[N, 32]."""
    sums = _combine(_ENCODE, exact)
    # The guard makes the quotient too small rather than too large: 0 <= value < r (1 + 2**-17).
    quotient = np.floor(sums[_LIMBS16] - _QUOTIENT_GUARD).astype(np.int64)
    limbs = sums[:_LIMBS16].astype(np.int64)
    words = limbs[0::2] + (limbs[1::2] << 16)
    words -= np.multiply.outer(np.array(_MODULUS32, dtype=np.int64), quotient)
    _carry(words)

    # At least r only where the top word is not smaller than r's, in about one random element of 2**31.
    close = np.flatnonzero(words[-1] >= _MODULUS32[-1])
    if close.size:
        reduced = words[:, close] - np.array(_MODULUS32, dtype=np.int64)[:, None]
        _carry(reduced)
        words[:, close] = np.where(reduced[-1] >= 0, reduced, words[:, close])

    encoded.view(">u4")[:, ::-1] = words.T


def _carry(words: NDArray[np.int64]) -> None:
    """Bring all words of int64[8, N] but the last, which keeps the sign, into 0..2**32 - 1, in place."""
    for lower, upper in pairwise(words):
        upper += lower >> 32
        lower &= 0xFFFFFFFF
