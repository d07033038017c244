"""Interpolation among roots of unity: the matrix that turns known values of a polynomial into others.

The idea: with the n known points S among the 2n-th roots of unity D, the value at another point x_t is

    f(x_t) = sum_{s in S} f(x_s) Z(x_t) / (Z'(x_s) (x_t - x_s)),   Z(x) = prod_{s in S} (x - x_s)

which holds for every f of degree < n. The matrix depends on which points are known, and on nothing else, so
it is made once for a whole batch, in plain integers, with one inversion.

Invariants: rows of a matrix follow the order of `wanted`, columns the order of `known`.

What it does not do: apply the matrix (`residues.py`).

Source: Lagrange interpolation in barycentric form.
"""

from __future__ import annotations

from collections.abc import Sequence

from erasure.constants import BLS_MODULUS
from erasure.domain import roots_brp


def interpolation_matrix(log2_order: int, known: Sequence[int], wanted: Sequence[int]) -> list[list[int]]:
    """Weights of the known values in the wanted ones.

    Args:
        log2_order: the points are the 2**log2_order roots of unity, in bit-reversed order.
        known: positions of the known points, distinct; the degree is below their number.
        wanted: positions of the wanted points, none of them known.

    Returns:
        len(wanted) rows of len(known) canonical elements.
    """
    domain = roots_brp(log2_order)
    nodes = [domain[position] for position in known]
    points = [domain[position] for position in wanted]

    # One inversion serves all: 1 / ((x_t - x_s) Z'(x_s)) comes from the inverses of both factors.
    derivatives = [_product_of_differences(node, nodes) for node in nodes]
    values = [_product_of_differences(point, nodes) for point in points]
    differences = [point - node for point in points for node in nodes]
    inverses = batch_inverse(derivatives + differences)
    by_derivative = inverses[: len(nodes)]
    by_difference = iter(inverses[len(nodes) :])
    return [
        [value * inverse % BLS_MODULUS * next(by_difference) % BLS_MODULUS for inverse in by_derivative]
        for value in values
    ]


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


def _product_of_differences(point: int, nodes: Sequence[int]) -> int:
    """The product of point - node over all nodes but the point itself."""
    result = 1
    for node in nodes:
        if node != point:
            result = result * (point - node) % BLS_MODULUS
    return result
