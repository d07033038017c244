"""The matrices of the host engine's convolution: they equal the two transforms, and their digits add up."""

from __future__ import annotations

import random

import pytest

from gpu.constants import LAMBDA, SCALAR_MODULUS
from gpu.convolution import kernels, proof_transform
from gpu.host import folding

R = SCALAR_MODULUS


def product(matrix: list[list[int]], values: list[int]) -> list[int]:
    return [sum(a * b for a, b in zip(row, values, strict=True)) % R for row in matrix]


def negacyclic(matrix: list[list[int]], u: list[int]) -> list[int]:
    """What the engine does with one part: fold, two products with one matrix, unfold."""
    n = len(u)
    if n == 2:
        return [*product(matrix, [u[0], -u[1]]), *product(matrix, [u[1], u[0]])]
    m = n // 2
    s = product(matrix, [u[0], *(u[j] - u[n - j] for j in range(1, m))])
    t = product(matrix, [u[m], *(u[m - j] + u[m + j] for j in range(1, m))])[::-1]
    return [a - b for a, b in zip(s, t, strict=True)] + [a + b for a, b in zip(s, t, strict=True)][::-1]


def by_matrices(matrices: list[list[list[int]]], u: list[int]) -> list[int]:
    if len(matrices) == 1:
        return product(matrices[0], u) + product(matrices[0], u[::-1])
    m = len(u) // 2
    minus = negacyclic(matrices[0], [a - b for a, b in zip(u[:m], u[m:], strict=True)])
    plus = by_matrices(matrices[1:], [a + b for a, b in zip(u[:m], u[m:], strict=True)])
    both = list(zip(plus, minus, strict=True))
    return [a + b for a, b in both] + [a - b for a, b in both]


def test_the_matrices_equal_the_transforms() -> None:
    rng = random.Random(2)
    u = [rng.randrange(R) for _ in range(128)]
    odd, even = (by_matrices(folding.matrices(), u[parity::2]) for parity in (0, 1))
    out = [0] * 128
    out[1::2] = [(a + b) % R for a, b in zip(u[1::2], odd, strict=True)]
    out[::2] = [(a + b) % R for a, b in zip(u[::2], [even[-1], *even[:-1]], strict=True)]
    assert out == proof_transform(u)


def test_a_kernel_that_is_no_palindrome_cannot_be_folded() -> None:
    *parts, cyclic = folding.split_to_the_end(kernels()[0])
    assert [len(part) for part in parts] == [32, 16, 8, 4, 2]
    assert all(part == part[::-1] for part in parts)
    assert cyclic != cyclic[::-1]
    with pytest.raises(AssertionError):
        folding.folded([1, 2, 3, 4])


def test_the_digit_table_holds_the_matrices() -> None:
    digits = folding.matrix_digits()
    constants = [c for matrix in folding.matrices() for row in matrix for c in row]
    assert digits.shape == (344, 2, 19) == (len(constants), 2, folding.DIGITS)
    assert (digits % 2 == 1).all()
    assert abs(digits).max() < 128
    for constant, halves in zip(constants, digits, strict=True):
        c1, c2 = (sum(int(d) << 7 * i for i, d in enumerate(half)) for half in halves)
        assert (c1 + LAMBDA * c2 - constant) % R == 0
