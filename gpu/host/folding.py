"""The constant convolution folded in two: matrices that the host engine multiplies points with, as digits.

`gpu.convolution` has the kernels k of two cyclic convolutions of size 64. They are one kernel, k[2f + 1],
for the inputs of either parity; for even outputs the result is moved by one place. Split to its end,
X^64 - 1 = (X^32 + 1)(X^16 + 1)(X^8 + 1)(X^4 + 1)(X^2 + 1)(X^2 - 1).

k[-e] = 1/32 - k[e], and the constant 1/64 is nothing modulo X^2m + 1: there the kernel A is a palindrome,
or A(1/X) = -X A(X). So for inputs s that X -> 1/X leaves as they are, A s is one too, and half of a matrix
determines it. The other inputs are X^m times such ones. With N = 2m, for 0 < j < m and 0 <= i < m,

    s_0 = u_0,  s_j = u_j - u_(N-j);    t_0 = u_m,  t_j = u_(m-j) + u_(m+j);
    y_i = (P s)_i - (P t)_(m-1-i),      y_(N-1-i) = (P s)_i + (P t)_(m-1-i),

with one m x m matrix P for both, and for both parities: a quarter of the products of a convolution of size N,
each wanted for four inputs at once. That is 344 constants, 4 lanes each, in place of 2,816 products.

What it does not do: touch a point. `host/convolution.hpp` does.

Source: derived here, and tested against the transforms (`gpu.convolution.proof_transform`).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from gpu.constants import SCALAR_MODULUS
from gpu.convolution import Digits, halves, kernels, odd_digits

DIGIT_BITS: Final = 7
"""Digits of the constants: odd, -127..127; 19 to a half."""

DIGITS: Final = -(-128 // DIGIT_BITS)

Matrix = list[list[int]]

_R: Final = SCALAR_MODULUS
_HALF: Final = pow(2, -1, _R)


def split_to_the_end(kernel: list[int]) -> list[list[int]]:
    """Negacyclic kernels of size 32, 16, 8, 4, 2 and a cyclic one of size 2, halvings of the way back
    included.

    kernel: 64 elements.
    """
    parts = []
    while len(kernel) > 2:
        m = len(kernel) // 2
        low, high = kernel[:m], kernel[m:]
        parts.append([(a - b) * _HALF % _R for a, b in zip(low, high, strict=True)])
        kernel = [(a + b) * _HALF % _R for a, b in zip(low, high, strict=True)]
    return [*parts, kernel]


def folded(kernel: list[int]) -> Matrix:
    """P of a palindromic negacyclic kernel: half as many rows and columns."""
    m = len(kernel) // 2
    assert kernel == kernel[::-1]

    def at(i: int) -> int:
        return kernel[i] if i >= 0 else -kernel[-1 - i]

    return [[at(i), *((at(i - j) + at(i + j)) * _HALF % _R for j in range(1, m))] for i in range(m)]


def matrices() -> list[Matrix]:
    """16 x 16, 8 x 8, 4 x 4, 2 x 2, and two of 1 x 2: the kernels modulo X^2 + 1 and X^2 - 1 themselves."""
    odd, even = kernels()
    assert even == [odd[-1], *odd[:-1]]
    *parts, negacyclic, cyclic = split_to_the_end(odd)
    return [*(folded(part) for part in parts), [negacyclic], [cyclic]]


def matrix_digits() -> Digits:
    """i16[344 constants, 2 halves, 19 digits]: the matrices one after the other, row by row."""
    return np.array(
        [
            [odd_digits(half, DIGIT_BITS, DIGITS) for half in halves(constant)]
            for matrix in matrices()
            for row in matrix
            for constant in row
        ],
        dtype=np.int16,
    )
