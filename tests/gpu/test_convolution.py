"""The constants of FK20's last step: digits that add up, and a convolution that equals the two transforms."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest

from gpu import convolution
from gpu.constants import LAMBDA, SCALAR_MODULUS
from gpu.host import folding

R = SCALAR_MODULUS
EDGES = [
    0,
    1,
    2,
    R - 1,
    R - 2,
    LAMBDA,
    LAMBDA + 1,
    LAMBDA - 1,
    (1 << 128) - 1,
    1 << 128,
    LAMBDA * (LAMBDA + 1),
]


@pytest.mark.parametrize("scalar", [*EDGES, *(random.Random(1).randrange(R) for _ in range(50))])
def test_halves_are_odd_and_short_and_make_the_scalar(scalar: int) -> None:
    c1, c2 = convolution.halves(scalar)
    assert c1 % 2 == c2 % 2 == 1
    assert max(abs(c1), abs(c2)) < 1 << 128
    assert (c1 + LAMBDA * c2) % R == scalar % R


@pytest.mark.parametrize("value", [1, -1, 3, (1 << 128) - 1, 1 - (1 << 128), 0x123456789ABCDEF])
@pytest.mark.parametrize(("width", "count"), [(8, 16), (5, 26)])
def test_digits_are_odd_and_add_up(value: int, width: int, count: int) -> None:
    digits = convolution.odd_digits(value, width, count)
    assert all(d % 2 and abs(d) < 1 << width for d in digits)
    assert sum(d << width * i for i, d in enumerate(digits)) == value


@pytest.mark.parametrize("value", [2, 0, (1 << 128) + 1, -(1 << 128) - 1])
def test_even_and_long_values_have_no_digits(value: int) -> None:
    with pytest.raises(AssertionError):
        convolution.odd_digits(value, 8, 16)


def cyclic(kernel: list[int], values: list[int], sign: int) -> list[int]:
    """Modulo X^n - sign."""
    n = len(kernel)
    out = [0] * n
    for f, k in enumerate(kernel):
        for i, v in enumerate(values):
            out[(f + i) % n] += k * v * (sign if f + i >= n else 1)
    return [value % R for value in out]


def by_parts(parts: list[list[int]], values: list[int]) -> list[int]:
    """What the engines do with the parts of a kernel: split, convolve, join."""
    if len(parts) == 1:
        return cyclic(parts[0], values, 1)
    m = len(values) // 2
    low, high = values[:m], values[m:]
    minus = cyclic(parts[0], [a - b for a, b in zip(low, high, strict=True)], -1)
    plus = by_parts(parts[1:], [a + b for a, b in zip(low, high, strict=True)])
    return [(a + b) % R for a, b in zip(plus, minus, strict=True)] + [
        (a - b) % R for a, b in zip(plus, minus, strict=True)
    ]


def test_the_convolution_equals_the_transforms() -> None:
    rng = random.Random(2)
    u = [rng.randrange(R) for _ in range(128)]
    odd, even = (list(convolution.split_kernel(k)) for k in convolution.kernels())
    out = [0] * 128
    out[1::2] = [(a + b) % R for a, b in zip(u[1::2], by_parts(odd, u[::2]), strict=True)]
    out[::2] = [(a + b) % R for a, b in zip(u[::2], by_parts(even, u[1::2]), strict=True)]
    assert out == convolution.proof_transform(u)


def test_the_digit_table_holds_the_split_kernels() -> None:
    digits = convolution.convolution_digits()
    assert digits.shape == (2, 64, 2, 16)
    weights = [1 << 8 * i for i in range(16)]
    for kernel, rows in zip(convolution.kernels(), digits, strict=True):
        taps = [tap for part in convolution.split_kernel(kernel) for tap in part]
        for tap, (first, second) in zip(taps, rows, strict=True):
            c1, c2 = (sum(int(d) * w for d, w in zip(half, weights, strict=True)) for half in (first, second))
            assert (c1 + LAMBDA * c2 - tap) % R == 0


def test_the_root_table_holds_roots_of_unity() -> None:
    digits = convolution.root_digits()
    assert digits.shape == (64, 2, 26)
    values = []
    for first, second in digits:
        c1, c2 = (sum(int(d) << 5 * i for i, d in enumerate(half)) for half in (first, second))
        values.append((c1 + LAMBDA * c2) % R)
    assert values[0] == 1
    assert len(set(values)) == 64
    assert all(pow(value, 128, R) == 1 for value in values)
    assert np.abs(digits).max() <= 31


@pytest.mark.parametrize(
    ("header", "name", "value"),
    [
        ("kernels/convolution.cuh", "DIGIT_BITS", convolution.DIGIT_BITS),
        ("kernels/convolution.cuh", "DIGITS", convolution.convolution_digits().shape[-1]),
        ("host/convolution.hpp", "DIGIT_BITS", folding.DIGIT_BITS),
        ("host/convolution.hpp", "DIGITS", folding.DIGITS),
        ("host/setup.hpp", "ROOT_DIGIT_BITS", convolution.ROOT_DIGIT_BITS),
        ("host/setup.hpp", "ROOT_DIGITS", convolution.root_digits().shape[-1]),
    ],
)
def test_the_headers_read_digits_as_they_were_written(header: str, name: str, value: int) -> None:
    """The shape of a table is said on both sides of the C boundary; its numbers only here."""
    text = (Path(convolution.__file__).parent / header).read_text()
    [found] = re.findall(rf"\b{name} = (\d+)\b", text)
    assert int(found) == value
