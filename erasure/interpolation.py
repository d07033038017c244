"""Interpolation among roots of unity: the matrix that turns known values of a polynomial into others.

The idea: with n known points S among the N-th roots of unity D, the value at another point x_t of D is

    f(x_t) = sum_{s in S} f(x_s) Z(x_t) / (Z'(x_s) (x_t - x_s)),   Z(x) = prod_{s in S} (x - x_s)

which holds for every f of degree < n. The matrix depends on which points are known, and on nothing else, so
it is made once for a whole batch, in plain integers. Differences of roots are roots times one of N numbers,
1 / (x_t - x_s) = x_s^-1 / (x_t / x_s - 1), so no entry takes an inversion of its own.

Invariants: rows of a matrix follow the order of `wanted`, columns the order of `known`.

What it does not do: apply the matrix (`residues.py`).

Source: Lagrange interpolation in barycentric form.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from erasure.constants import BLS_MODULUS
from erasure.domain import reverse_bits, roots


def interpolation_matrix(
    log2_order: int, known: Sequence[int], wanted: Sequence[int], *, zeros: Sequence[int] = ()
) -> list[list[int]]:
    """Weights of the known values in the wanted ones.

    Args:
        log2_order: the points are the 2**log2_order roots of unity, in bit-reversed order.
        known: positions of the known points.
        wanted: positions of the wanted points.
        zeros: positions where the polynomial is known to be zero. The three sets are disjoint, and the
            degree is below the number of known and zero points together.

    Returns:
        len(wanted) rows of len(known) canonical elements.
    """
    powers = roots(log2_order)
    order = len(powers)
    exponents = [reverse_bits(position, log2_order) for position in (*known, *zeros)]
    targets = [reverse_bits(position, log2_order) for position in wanted]
    nodes = [powers[exponent] for exponent in exponents]

    derivatives = [_vanishing_at(powers[s], nodes) for s in exponents[: len(known)]]
    scales = [
        inverse * powers[-s % order] % BLS_MODULUS
        for s, inverse in zip(exponents, batch_inverse(derivatives), strict=False)
    ]
    factors = _inverse_differences(log2_order)
    return [
        [
            value * scale % BLS_MODULUS * factors[(t - s) % order] % BLS_MODULUS
            for s, scale in zip(exponents, scales, strict=False)
        ]
        for t, value in ((t, _vanishing_at(powers[t], nodes)) for t in targets)
    ]


def coset_extension_matrix(log2_order: int, known: Sequence[int], wanted: Sequence[int]) -> list[list[int]]:
    """The same weights where the polynomial is known, or known to be zero, on all of the first half.

    There S is a group of order n = N / 2, so that Z = x^n - 1, Z'(x_s) = n / x_s, and Z(x_t) = -2 for all
    points of the other half. Nothing is left to multiply up.

    Args:
        log2_order: as above.
        known: positions in the first half; the polynomial is zero at the others of that half.
        wanted: positions in the second half.
    """
    order = 1 << log2_order
    scale = -2 * pow(order // 2, -1, BLS_MODULUS) % BLS_MODULUS
    factors = [scale * factor % BLS_MODULUS for factor in _inverse_differences(log2_order)]
    exponents = [reverse_bits(position, log2_order) for position in known]
    targets = [reverse_bits(position, log2_order) for position in wanted]
    return [[factors[(t - s) % order] for s in exponents] for t in targets]


def batch_inverse(elements: Sequence[int]) -> list[int]:
    """Inverses modulo r of elements that are not zero modulo r, for the price of one inversion."""
    prefixes = [1]
    for element in elements:
        prefixes.append(prefixes[-1] * element % BLS_MODULUS)
    assert prefixes[-1] != 0
    inverse = pow(prefixes[-1], -1, BLS_MODULUS)
    inverses = [0] * len(elements)
    for index in reversed(range(len(elements))):
        inverses[index] = prefixes[index] * inverse % BLS_MODULUS
        inverse = inverse * elements[index] % BLS_MODULUS
    return inverses


@cache
def _inverse_differences(log2_order: int) -> tuple[int, ...]:
    """At k > 0: 1 / (w^k - 1). Position 0 is never used, a point has no difference to itself."""
    return (0, *batch_inverse([root - 1 for root in roots(log2_order)[1:]]))


def _vanishing_at(point: int, nodes: Sequence[int]) -> int:
    """The product of point - node over all nodes but the point itself."""
    result = 1
    for node in nodes:
        if node != point:
            result = result * (point - node) % BLS_MODULUS
    return result
