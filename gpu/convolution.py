"""The constants of FK20's last step, as digits: a convolution in place of two transforms over G1.

FK20 ends with proofs = FFT(truncate(IFFT(u))), transforms of size 128 over points. With w a 128th root of
unity that map is one fixed cyclic convolution (each kappa is a geometric series):

    2 out[a] = u[a] + sum over odd e of k[e] u[a - e],    k[e] = -1 / (32 (w^e - 1)).

Odd e only: even outputs take odd inputs and the other way round, two cyclic convolutions of size 64. Each
splits by X^2m - 1 = (X^m - 1)(X^m + 1): negacyclic of size 32, 16, 8, and a cyclic one of size 8 at the
end, which leaves 2,816 of the 8,192 products. The factors 1/2 of the way back are absorbed in the
constants.

A constant c is cut in two by the endomorphism, c = c1 + LAMBDA c2, both odd and below 2^128 in absolute
value, and each half into digits that are odd: signs as in the comb, never 0.

What it does not do: touch a point. The engines add up multiples by these digits.

Source: derived here, and tested against the transforms (`proof_transform`); the split was first used in
https://github.com/jtraglia/vkzg (whose code is not used). Lattice of the endomorphism: (LAMBDA, -1), (1,
LAMBDA + 1).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from gpu.constants import CELLS, LAMBDA, ROOT_OF_UNITY, SCALAR_MODULUS

DIGIT_BITS: Final = 8
"""Digits of the convolution: odd, -255..255; 16 to a half."""

ROOT_DIGIT_BITS: Final = 5
"""Digits of the roots that the setup's transform multiplies with: odd, -31..31; 26 to a half."""

PART_SIZES: Final = (32, 16, 8, 8)
"""Negacyclic 32, 16, 8 and cyclic 8: the sizes of the parts of a cyclic convolution of size 64."""

Digits = npt.NDArray[np.int16]

_R: Final = SCALAR_MODULUS
_W: Final = pow(ROOT_OF_UNITY, 64, _R)
_HALF: Final = pow(2, -1, _R)


def halves(scalar: int) -> tuple[int, int]:
    """(c1, c2), both odd and in (-2^128, 2^128), with c1 + LAMBDA c2 = scalar modulo r."""
    c2, c1 = divmod(scalar % _R, LAMBDA)
    if c2 % 2 == 0:
        c1, c2 = c1 - LAMBDA, c2 + 1
    if c1 % 2 == 0:
        c1, c2 = c1 - 1, c2 - (LAMBDA + 1)
    assert c1 % 2 == c2 % 2 == 1
    assert max(abs(c1), abs(c2)) < 1 << 128
    assert (c1 + LAMBDA * c2 - scalar) % _R == 0
    return c1, c2


def odd_digits(value: int, width: int, count: int) -> list[int]:
    """Odd digits d with sum d[i] 2^(width i) = value, for odd |value| < 2^(width count)."""
    bits = width * count
    pattern = (value + (1 << bits) - 1) // 2
    assert value % 2 == 1
    assert 0 <= pattern < 1 << bits
    window = (1 << width) - 1
    digits = [2 * (pattern >> width * i & window) - window for i in range(count)]
    assert sum(d << width * i for i, d in enumerate(digits)) == value
    return digits


def kernels() -> list[list[int]]:
    """For odd outputs, then for even ones: the cyclic kernel of size 64 over inputs of the other parity.

    out[2a + 1] gets sum k[2f + 1] u[2(a - f)]; out[2a] gets sum k[2f - 1] u[2(a - f) + 1].
    """
    k = {e: -pow(32 * (pow(_W, e, _R) - 1), -1, _R) % _R for e in range(1, CELLS, 2)}
    return [[k[(2 * f + odd) % CELLS] for f in range(CELLS // 2)] for odd in (1, -1)]


def split_kernel(kernel: list[int]) -> list[list[int]]:
    """The kernels of the parts, in the order of PART_SIZES, with the halvings of the way back."""
    parts = []
    while len(kernel) > PART_SIZES[-1]:
        m = len(kernel) // 2
        low, high = kernel[:m], kernel[m:]
        parts.append([(a - b) * _HALF % _R for a, b in zip(low, high, strict=True)])
        kernel = [(a + b) * _HALF % _R for a, b in zip(low, high, strict=True)]
    return [*parts, kernel]


def convolution_digits() -> Digits:
    """i16[2 kernels, 64 taps (32 + 16 + 8 + 8), 2 halves, 16 digits]."""
    count = 128 // DIGIT_BITS
    return np.array(
        [
            [
                [odd_digits(half, DIGIT_BITS, count) for half in halves(tap)]
                for part in split_kernel(k)
                for tap in part
            ]
            for k in kernels()
        ],
        dtype=np.int16,
    )


def root_digits() -> Digits:
    """i16[64 roots, 2 halves, 26 digits]: zeta[i] = w^(4096 * 0.brp(i)), for the setup's transform."""
    count = -(-128 // ROOT_DIGIT_BITS)
    roots = [pow(ROOT_OF_UNITY, 4096 * int(f"{i:06b}"[::-1], 2) // 64, _R) for i in range(64)]
    return np.array(
        [[odd_digits(half, ROOT_DIGIT_BITS, count) for half in halves(root)] for root in roots],
        dtype=np.int16,
    )


def proof_transform(values: list[int]) -> list[int]:
    """2 FFT(truncate(IFFT(values))) over Fr, by the definition: the map that the engines apply to points.

    values: 128 elements in natural order.
    """
    powers = [pow(_W, i, _R) for i in range(CELLS)]
    low = [sum(v * powers[-i * m % CELLS] for i, v in enumerate(values)) % _R for m in range(CELLS // 2)]
    scale = 2 * pow(CELLS, -1, _R)
    return [scale * sum(c * powers[a * m % CELLS] for m, c in enumerate(low)) % _R for a in range(CELLS)]
