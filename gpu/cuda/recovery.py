"""What a recovery needs to know of the missing cells: one matrix for every row and coefficient of a batch.

Coefficient j of the cells' remainders is, over the cells, a polynomial of degree < 64 at the 128th roots of
unity z_i (kernels/ntt.cuh). Lagrange's coefficients take its values at 64 known cells to those at the lost
ones.

Source: https://en.wikipedia.org/wiki/Lagrange_polynomial, with one inversion for all denominators.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from typing import Final

from gpu.constants import CELLS, SCALAR_MODULUS
from gpu.cuda.tables import cell_root

NEEDED: Final = CELLS // 2
_R: Final = SCALAR_MODULUS


@functools.lru_cache(maxsize=8)
def lagrange_matrix(known: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The lost cells, and the coefficients that make them: row m, 64 to a row, of the first 64 known cells.

    known: ascending cell indices, at least 64.
    """
    lost = tuple(sorted(set(range(CELLS)) - set(known)))
    roots = [cell_root(cell) for cell in known[:NEEDED]]
    weights = [_product(z - other for other in roots if other != z) for z in roots]
    points = [cell_root(cell) for cell in lost]
    numerators = [_product(x - z for z in roots) for x in points]
    denominators = [(x - z) * weight % _R for x in points for z, weight in zip(roots, weights, strict=True)]
    inverses = _inverses(denominators)
    return lost, tuple(numerators[i // NEEDED] * inverse % _R for i, inverse in enumerate(inverses))


def _product(values: Iterable[int]) -> int:
    return functools.reduce(lambda a, b: a * b % _R, values, 1)


def _inverses(values: list[int]) -> list[int]:
    """1/v of non-zero values, with one inversion."""
    prefixes = list(itertools.accumulate(values, lambda a, b: a * b % _R, initial=1))
    inverse = pow(prefixes.pop(), -1, _R)
    out = []
    for value, prefix in zip(reversed(values), reversed(prefixes), strict=True):
        out.append(inverse * prefix % _R)
        inverse = inverse * value % _R
    return out[::-1]
