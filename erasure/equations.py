"""Linear equations in the R cells of a column, and the cells they determine.

The idea: an equation says what one weighted sum of a column's cells is, element by element: a fold with the
weights of its seed, a data cell with a unit vector, a parity cell with its parity weights. Whatever linear
map keeps up with the cells (their proofs, as points) has the same solution: cell i is the sum of W[i][k]
times the k-th chosen equation's side. Any R independent equations determine the column.

Invariants: arithmetic is exact, modulo r; equations are taken in the order given, each only if it does not
follow from those taken before it, so the choice does not depend on what any of them says.

What it does not do: verify equations. A wrong one spreads over the whole column.

Source: Gauss and Jordan's elimination.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from erasure.constants import BLS_MODULUS, BYTES_PER_CELL, MAX_ROWS
from erasure.errors import InvalidFieldElement, InvalidShape
from erasure.field import Bytes, first_invalid
from erasure.residues import constants, decode, encode, product


@dataclass(frozen=True, slots=True)
class Solution:
    """Which equations determine a column, and how.

    chosen: positions of R independent equations, ascending. weights: R rows of R canonical elements; cell i
    is the sum of weights[i][k] times what equation chosen[k] says.
    """

    chosen: tuple[int, ...]
    weights: tuple[tuple[int, ...], ...]

    def apply(self, sides: Bytes) -> Bytes:
        """The cells of the column.

        Args:
            sides: u8[R, 2048], what the chosen equations say, in their order.

        Returns:
            u8[R, 2048], row 0 first.

        Raises:
            InvalidShape, InvalidFieldElement.
        """
        rows = len(self.chosen)
        if sides.dtype != np.uint8 or sides.shape != (rows, BYTES_PER_CELL):
            raise InvalidShape(f"sides must be u8[{rows}, {BYTES_PER_CELL}], got {sides.dtype}{sides.shape}")
        sides = np.ascontiguousarray(sides)
        if (position := first_invalid(sides)) is not None:
            raise InvalidFieldElement(*divmod(position, BYTES_PER_CELL // 32))
        flat = [weight for row in self.weights for weight in row]
        return encode(product(constants(flat, rows, rows), decode(sides)))


def solve(rows: int, equations: Iterable[Sequence[int]]) -> Solution | None:
    """The first R independent equations and their inverse; None when there are not so many.

    Args:
        rows: R, 1..MAX_ROWS.
        equations: of each the R weights, canonical elements.

    Raises:
        InvalidShape: rows is out of range, or an equation has another number of weights.
    """
    if not 1 <= rows <= MAX_ROWS:
        raise InvalidShape(f"rows must be in 1..{MAX_ROWS}, got {rows}")
    elimination = _Elimination(rows)
    chosen: list[int] = []
    for position, weights in enumerate(equations):
        if len(weights) != rows:
            raise InvalidShape(f"equation {position} has {len(weights)} weights, not {rows}")
        if elimination.add(weights):
            chosen.append(position)
            if len(chosen) == rows:
                return Solution(tuple(chosen), elimination.inverse())
    return None


class _Elimination:
    """The equations taken, in echelon form: E = T V, where V are their weights and E has a pivot in each row.

    U are the pivots' columns of E, an upper triangle with ones, and its inverse is kept: so each step is a
    few products of a vector with a matrix, whose sums are reduced once. Entries are Python's integers in
    numpy arrays, multiplied and added in C.
    """

    def __init__(self, rows: int) -> None:
        self._echelon: NDArray[np.object_] = np.zeros((rows, rows), dtype=object)
        self._transform: NDArray[np.object_] = np.zeros((rows, rows), dtype=object)
        self._upper_inverse: NDArray[np.object_] = np.zeros((rows, rows), dtype=object)
        self._pivots: list[int] = []

    def add(self, weights: Sequence[int]) -> bool:
        """Take an equation; False when it follows from those before it."""
        count = len(self._pivots)
        before = slice(count)
        new = np.array(list(weights), dtype=object)
        factors = new[self._pivots] @ self._upper_inverse[before, before] % BLS_MODULUS
        new = (new - factors @ self._echelon[before]) % BLS_MODULUS
        nonzero = np.flatnonzero(new)
        if not nonzero.size:
            return False
        pivot = int(nonzero[0])
        scale = pow(int(new[pivot]), -1, BLS_MODULUS)
        above = self._upper_inverse[before, before] @ self._echelon[before, pivot]
        self._upper_inverse[before, count] = -above % BLS_MODULUS
        self._upper_inverse[count, count] = 1
        transform = factors @ self._transform[before, before] % BLS_MODULUS
        self._transform[count, before] = -transform * scale % BLS_MODULUS
        self._transform[count, count] = scale
        self._echelon[count] = new * scale % BLS_MODULUS
        self._pivots.append(pivot)
        return True

    def inverse(self) -> tuple[tuple[int, ...], ...]:
        """For each unknown, in order, the weights of the sides; R equations have been taken."""
        weights = self._upper_inverse @ self._transform % BLS_MODULUS
        return tuple(tuple(map(int, row)) for row in weights[np.argsort(self._pivots)])
