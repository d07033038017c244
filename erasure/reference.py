"""The code in plain integers: the oracle that the fast modules are compared with.

The idea: each definition as the specs and the design state it, on lists of Python integers, with nothing
clever in it. It stays as it is for good; speed is the business of the others.

Invariants: elements are canonical integers; a row is 4096 of them, its extension 8192, bit-reversed.

What it does not do: check its input. It shares the constants, and nothing else, with the fast modules.

Source: consensus-specs deneb `polynomial-commitments.md` and fulu `polynomial-commitments-sampling.md`:
`fft_field`, `compute_cells`, `recover_polynomialcoeff`; for parity rows `docs/architecture.md`, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence

from erasure.constants import (
    BLS_MODULUS,
    CELLS_PER_EXT_BLOB,
    FIELD_ELEMENTS_PER_BLOB,
    FIELD_ELEMENTS_PER_CELL,
    FIELD_ELEMENTS_PER_EXT_BLOB,
    PRIMITIVE_ROOT_OF_UNITY,
)


def compute_roots_of_unity(order: int) -> list[int]:
    """The roots of unity of an order that is a power of two, ascending powers of the first."""
    root = pow(PRIMITIVE_ROOT_OF_UNITY, (BLS_MODULUS - 1) // order, BLS_MODULUS)
    return [pow(root, exponent, BLS_MODULUS) for exponent in range(order)]


def bit_reversal_permutation(sequence: Sequence[int]) -> list[int]:
    """The sequence, whose length is a power of two, with the bits of all indices reversed."""
    bits = len(sequence).bit_length() - 1
    return [sequence[int(f"{index:0{bits}b}"[::-1], 2) if bits else 0] for index in range(len(sequence))]


def fft_field(values: Sequence[int], roots: Sequence[int]) -> list[int]:
    """Values at all roots of the polynomial with these coefficients, both in natural order."""
    if len(values) == 1:
        return list(values)
    left = fft_field(values[::2], roots[::2])
    right = fft_field(values[1::2], roots[::2])
    out = [0] * len(values)
    for index, (x, y) in enumerate(zip(left, right, strict=True)):
        twisted = y * roots[index] % BLS_MODULUS
        out[index] = (x + twisted) % BLS_MODULUS
        out[index + len(left)] = (x - twisted) % BLS_MODULUS
    return out


def inverse_fft_field(values: Sequence[int], roots: Sequence[int]) -> list[int]:
    """Coefficients of the polynomial with these values at all roots, both in natural order."""
    scale = pow(len(values), -1, BLS_MODULUS)
    inverse_roots = [roots[0], *reversed(roots[1:])]
    return [value * scale % BLS_MODULUS for value in fft_field(values, inverse_roots)]


def extend_row(blob: Sequence[int]) -> list[int]:
    """All 8192 elements of a row from the 4096 of its blob (`compute_cells`)."""
    roots = compute_roots_of_unity(FIELD_ELEMENTS_PER_BLOB)
    coefficients = inverse_fft_field(bit_reversal_permutation(blob), roots)
    return evaluate_row(coefficients)


def evaluate_row(coefficients: Sequence[int]) -> list[int]:
    """The 8192 elements of the row with these 4096 coefficients."""
    padded = [*coefficients, *[0] * (FIELD_ELEMENTS_PER_EXT_BLOB - len(coefficients))]
    roots = compute_roots_of_unity(FIELD_ELEMENTS_PER_EXT_BLOB)
    return bit_reversal_permutation(fft_field(padded, roots))


def recover_row(cells: dict[int, Sequence[int]]) -> list[int]:
    """All 8192 elements of a row from at least 64 of its cells, given as index -> 64 elements.

    (E Z) has the values of the row times Z, where Z vanishes on the missing cells: so it is known
    everywhere. Over a coset, where Z has no zero, it is divided by Z.
    """
    missing = [index for index in range(CELLS_PER_EXT_BLOB) if index not in cells]
    zero_coefficients = _vanishing_polynomial(missing)
    roots = compute_roots_of_unity(FIELD_ELEMENTS_PER_EXT_BLOB)
    known = [0] * FIELD_ELEMENTS_PER_EXT_BLOB
    for index, cell in cells.items():
        known[index * FIELD_ELEMENTS_PER_CELL : (index + 1) * FIELD_ELEMENTS_PER_CELL] = cell

    zero_values = fft_field(zero_coefficients, roots)
    products = [
        value * zero % BLS_MODULUS
        for value, zero in zip(bit_reversal_permutation(known), zero_values, strict=True)
    ]
    product_coset = _coset_fft(inverse_fft_field(products, roots), roots)
    zero_coset = _coset_fft(zero_coefficients, roots)
    quotients = [
        value * pow(zero, -1, BLS_MODULUS) % BLS_MODULUS
        for value, zero in zip(product_coset, zero_coset, strict=True)
    ]
    coefficients = _inverse_coset_fft(quotients, roots)
    return evaluate_row(coefficients[:FIELD_ELEMENTS_PER_BLOB])


def parity_weights(rows: int) -> list[list[int]]:
    """W[j][i] by the definition: interpolate the unit vector of row i, evaluate at position n + j."""
    n = 1
    while n < rows:
        n *= 2
    domain = bit_reversal_permutation(compute_roots_of_unity(2 * n))
    return [[_lagrange(domain[:n], i, domain[n + j]) for i in range(rows)] for j in range(rows)]


def parity_elements(column: Sequence[Sequence[int]]) -> list[list[int]]:
    """Elements of the parity rows from those of the data rows, element by element."""
    return [
        [
            sum(weight * row[index] for weight, row in zip(weights, column, strict=True)) % BLS_MODULUS
            for index in range(len(column[0]))
        ]
        for weights in parity_weights(len(column))
    ]


def _lagrange(nodes: Sequence[int], index: int, point: int) -> int:
    """The polynomial that is one at nodes[index] and zero at the others, at a point."""
    numerator = denominator = 1
    for other, node in enumerate(nodes):
        if other != index:
            numerator = numerator * (point - node) % BLS_MODULUS
            denominator = denominator * (nodes[index] - node) % BLS_MODULUS
    return numerator * pow(denominator, -1, BLS_MODULUS) % BLS_MODULUS


def _vanishing_polynomial(missing_cells: Sequence[int]) -> list[int]:
    """8192 coefficients of the polynomial that vanishes on the missing cells alone."""
    roots = bit_reversal_permutation(compute_roots_of_unity(CELLS_PER_EXT_BLOB))
    short = [1]
    for index in missing_cells:
        shifted, scaled = [0, *short], [*(-roots[index] * c for c in short), 0]
        short = [(a + b) % BLS_MODULUS for a, b in zip(shifted, scaled, strict=True)]
    coefficients = [0] * FIELD_ELEMENTS_PER_EXT_BLOB
    for power, coefficient in enumerate(short):
        coefficients[power * FIELD_ELEMENTS_PER_CELL] = coefficient
    return coefficients


def _coset_fft(coefficients: Sequence[int], roots: Sequence[int]) -> list[int]:
    """Values at the roots times the primitive root, where no root of unity is."""
    factors = _powers(PRIMITIVE_ROOT_OF_UNITY, len(coefficients))
    return fft_field([c * f % BLS_MODULUS for c, f in zip(coefficients, factors, strict=True)], roots)


def _inverse_coset_fft(values: Sequence[int], roots: Sequence[int]) -> list[int]:
    factors = _powers(pow(PRIMITIVE_ROOT_OF_UNITY, -1, BLS_MODULUS), len(values))
    coefficients = inverse_fft_field(values, roots)
    return [c * f % BLS_MODULUS for c, f in zip(coefficients, factors, strict=True)]


def _powers(base: int, count: int) -> list[int]:
    powers = [1]
    for _ in range(count - 1):
        powers.append(powers[-1] * base % BLS_MODULUS)
    return powers
