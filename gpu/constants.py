"""The constants of the compute core, generated for every limb size from `erasure/constants.py`.

The kernels in `kernels/` and `host/` type no number of the field or of the curve. This module writes
them: for each field and each way to cut a number into limbs, one struct of words (modulus, Montgomery
constants, the multiples that reductions subtract), and one struct with the numbers of the curve. The base
field's modulus itself follows from the scalar field's: both are polynomials of the one BLS parameter x.

Invariants: every bound that the lane arithmetic relies on is asserted here, in exact integers, when the text
is generated. The same source gives the same text, so what includes it can be cached by its hash.

What it does not do: compile. Run as a program, it writes the header for the build, and needs neither
numpy nor an installed package: `python gpu/constants.py OUTPUT`.

Source: https://hackmd.io/@benjaminion/bls12-381 for the curve; Montgomery, "Modular multiplication without
trial division" (1985) for the form.
"""

from __future__ import annotations

import runpy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ERASURE = runpy.run_path(str(Path(__file__).resolve().parent.parent / "erasure" / "constants.py"))

SCALAR_MODULUS: Final[int] = _ERASURE["BLS_MODULUS"]
PRIMITIVE_ROOT: Final[int] = _ERASURE["PRIMITIVE_ROOT_OF_UNITY"]
EXTENDED_ELEMENTS: Final[int] = _ERASURE["FIELD_ELEMENTS_PER_EXT_BLOB"]
CELL_ELEMENTS: Final[int] = _ERASURE["FIELD_ELEMENTS_PER_CELL"]
CELLS: Final[int] = _ERASURE["CELLS_PER_EXT_BLOB"]

BLS_X: Final = -0xD201000000010000
"""The parameter of the curve family BLS12: r = x^4 - x^2 + 1, p = (x - 1)^2 r / 3 + x."""

BASE_MODULUS: Final = (BLS_X - 1) ** 2 * SCALAR_MODULUS // 3 + BLS_X
ROOT_OF_UNITY: Final = pow(PRIMITIVE_ROOT, (SCALAR_MODULUS - 1) // EXTENDED_ELEMENTS, SCALAR_MODULUS)
"""w, of order 8192: the domain of an extended row."""

LAMBDA: Final = BLS_X**2 - 1
"""A cube root of unity in Fr: the eigenvalue of the endomorphism (x, y) -> (BETA x, y) on G1."""

BETA: Final = pow(2, (BASE_MODULUS - 1) // 3 * 2, BASE_MODULUS)
"""The cube root of unity in Fp that belongs to LAMBDA (its square belongs to LAMBDA^2)."""

GENERATOR_X: Final = int(
    "17f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb", 16
)
"""x of the standard generator of G1; y is the root of x^3 + 4 that ends in an odd digit (checked)."""

assert SCALAR_MODULUS == BLS_X**4 - BLS_X**2 + 1
assert (BLS_X - 1) ** 2 % 3 == 0
assert BASE_MODULUS.bit_length() == 381
assert BASE_MODULUS % 4 == 3
assert (LAMBDA**2 + LAMBDA + 1) % SCALAR_MODULUS == 0
assert (BETA**2 + BETA + 1) % BASE_MODULUS == 0
assert pow(ROOT_OF_UNITY, EXTENDED_ELEMENTS // 2, SCALAR_MODULUS) == SCALAR_MODULUS - 1


@dataclass(frozen=True, slots=True)
class LaneBounds:
    """How far the values of a lane field may grow between two reductions, in multiples of its modulus.

    Stored values are below `bound` m, differences that only go into products below 2 `bound` m. A reduction
    estimates v / 2^k from the top limb, k = bits of m, and subtracts that many m, at most 7.
    """

    modulus: int
    limbs: int
    bound: int

    def check(self) -> None:
        """Asserts the bounds that `host/lanes.hpp` names."""
        m, k, R = self.modulus, self.modulus.bit_length(), 1 << 52 * self.limbs
        loose = 3 * self.bound * m
        # The Montgomery product adds q N / R < m for the 'friendly' steps and one m for the last.
        assert loose**2 // R + 2 * m + 1 < self.bound * m or self.limbs == 5
        assert (2 * self.bound * m) ** 2 // R + 2 * m + 1 < self.bound * m
        # Sums that are reduced: x + y, x - y + bound m; in the base field also the fused forms.
        assert 2 * self.bound * m < 1 << k + 3
        if self.limbs == 8:
            assert (2 + 2 * self.bound) * m + m // 8 < 1 << k + 3
        # Sums of 64 products, of values below 2.5 m and below m, or of stored ones.
        terms = 64 * (5 * m * m // 2 if self.limbs == 5 else (self.bound * m) ** 2)
        assert terms // R + 2 * m + 1 < 1 << k + 3
        # What the reduction leaves, with 2^-10 of slack for carries that the estimate did not see.
        assert max(((1 << k) + (1 << k - 10) + q * ((1 << k) - m)) for q in range(8)) < self.bound * m


def words(value: int, bits: int, count: int) -> str:
    """The braced initialiser of `count` little-endian words."""
    assert 0 <= value < 1 << bits * count
    mask = (1 << bits) - 1
    return "{" + ", ".join(f"{value >> bits * i & mask:#x}ull" for i in range(count)) + "}"


def lane_params(name: str, modulus: int, limbs: int, bound: int) -> str:
    """The struct for 52-bit limbs in vector lanes."""
    LaneBounds(modulus, limbs, bound).check()
    B = 1 << 52
    R = B**limbs
    inverse = -pow(modulus, -1, B) % B
    friendly = (modulus * inverse + 1) // B
    assert (modulus * inverse + 1) % B == 0
    multiples = [[(q * modulus >> 52 * i) % B for q in range(8)] for i in range(limbs)]
    rows = ",\n      ".join("{" + ", ".join(f"{v:#x}ull" for v in row) + "}" for row in multiples)
    words64 = (modulus.bit_length() + 63) // 64
    return f"""
struct {name}Lanes {{
  static constexpr int LIMBS = {limbs};
  static constexpr int WORDS = {words64};
  static constexpr int BOUND = {bound};
  static constexpr int TOP_SHIFT = {modulus.bit_length() - 52 * (limbs - 1)};
  static constexpr u64 NEG_INVERSE = {inverse:#x}ull;
  static constexpr u64 MODULUS_WORDS[{words64}] = {words(modulus, 64, words64)};
  alignas(64) static constexpr u64 MODULUS[{limbs}] = {words(modulus, 52, limbs)};
  alignas(64) static constexpr u64 FRIENDLY[{limbs}] = {words(friendly, 52, limbs)};
  alignas(64) static constexpr u64 ONE[{limbs}] = {words(R % modulus, 52, limbs)};
  alignas(64) static constexpr u64 R2[{limbs}] = {words(R * R % modulus, 52, limbs)};
  alignas(64) static constexpr u64 R3[{limbs}] = {words(R**3 % modulus, 52, limbs)};
  alignas(64) static constexpr u64 MULTIPLES[{limbs}][8] = {{
      {rows}}};
}};
"""


def half_params() -> str:
    """The struct for halving scalars, s = first + lambda second, in 52-bit limbs; see `host/halves.hpp`.

    MAKE_ODD holds 2^128 plus what makes a half odd, by the parities of both (first + 2 second).
    """
    limbs = 3
    largest = (SCALAR_MODULUS - 1) // LAMBDA
    reciprocal = (1 << 260) // LAMBDA
    # The reciprocal's error is below 1, and costs less than 1 in the quotient of a scalar.
    assert SCALAR_MODULUS < 1 << 260
    assert 1 << 52 * limbs > 2 * LAMBDA
    assert largest <= LAMBDA + 1
    steps = [(-LAMBDA, 1), (-LAMBDA - 1, -LAMBDA), (-1, -LAMBDA - 1), (0, 0)]
    for parity, step in enumerate(steps):
        assert (step[0] + LAMBDA * step[1]) % SCALAR_MODULUS == 0
        assert [(parity >> half & 1) + step[half] & 1 for half in range(2)] == [1, 1]
        assert all(step[half] > -(1 << 128) and LAMBDA + 1 + step[half] < 1 << 128 for half in range(2))

    def row(half: int, i: int) -> str:
        return ", ".join(f"{((1 << 128) + step[half] >> 52 * i) % (1 << 52):#x}ull" for step in steps)

    halves = ",\n      ".join(
        "{" + ", ".join("{" + row(half, i) + "}" for i in range(limbs)) + "}" for half in range(2)
    )
    return f"""
struct HalfLanes {{
  static constexpr int LIMBS = {limbs};
  static constexpr u64 LAMBDA[{limbs}] = {words(LAMBDA, 52, limbs)};
  static constexpr u64 RECIPROCAL[{limbs}] = {words(reciprocal, 52, limbs)};
  alignas(64) static constexpr u64 MAKE_ODD[2][{limbs}][8] = {{
      {halves}}};
}};
"""


def word_params(name: str, modulus: int, bits: int) -> str:
    """The struct for words of 32 or 64 bits: functions, as CUDA has no static arrays on the device."""
    count = (modulus.bit_length() + 63) // 64 * (64 // bits)
    R = 1 << bits * count
    inverse = -pow(modulus, -1, 1 << bits) % (1 << bits)
    functions = "\n".join(
        f"  CELLAR_CONSTANT static constexpr u{bits} {label}(int i) {{\n"
        f"    constexpr u{bits} w[{count}] = {words(value, bits, count)};\n    return w[i];\n  }}"
        for label, value in (("modulus", modulus), ("one", R % modulus), ("r2", R * R % modulus))
    )
    return f"""
struct {name}Words{bits} {{
  static constexpr int WORDS = {count};
  static constexpr u{bits} NEG_INVERSE = {inverse:#x};
{functions}
}};
"""


def curve_params() -> str:
    """Numbers of the curve and of the domain, as canonical 64-bit words."""
    p, r = BASE_MODULUS, SCALAR_MODULUS
    generator_y = pow(GENERATOR_X**3 + 4, (p + 1) // 4, p)
    generator_y = generator_y if generator_y & 1 else p - generator_y
    assert generator_y**2 % p == (GENERATOR_X**3 + 4) % p
    entries = (
        ("curve_b", 4, 6, "y^2 = x^3 + 4"),
        ("beta", BETA, 6, "(beta x, y) = [lambda](x, y)"),
        ("generator_x", GENERATOR_X, 6, "the standard generator of G1"),
        ("generator_y", generator_y, 6, ""),
        ("sqrt_exponent", (p + 1) // 4, 6, "a^((p+1)/4) is a root of a, if it has one: p = 3 mod 4"),
        ("half_p", (p - 1) // 2, 6, "the larger of y and -y is above it"),
        ("scalar_modulus", r, 4, "r"),
        ("root_of_unity", ROOT_OF_UNITY, 4, "of order 8192 in Fr"),
        ("cell_elements_inverse", pow(CELL_ELEMENTS, -1, r), 4, "1/64 in Fr"),
    )
    functions = "\n".join(
        f"  CELLAR_CONSTANT static constexpr u64 {name}(int i) {{  // {note or 'see above'}\n"
        f"    constexpr u64 w[{count}] = {words(value, 64, count)};\n    return w[i];\n  }}"
        for name, value, count, note in entries
    )
    return f"""
struct Curve {{
  static constexpr u64 ABS_X = {-BLS_X:#x}ull;  // the BLS parameter is -ABS_X
{functions}
}};
"""


def constants_header() -> str:
    """The whole header, `constants.cuh`, as text."""
    return (
        "// Generated by gpu/constants.py from erasure/constants.py. Do not edit.\n#pragma once\n"
        '#include "base.cuh"\n\nnamespace cellar {\n'
        f"constexpr int EXTENDED_ELEMENTS = {EXTENDED_ELEMENTS};\n"
        f"constexpr int BLOB_ELEMENTS = {EXTENDED_ELEMENTS // 2};\n"
        f"constexpr int CELL_ELEMENTS = {CELL_ELEMENTS};\n"
        f"constexpr int CELLS = {CELLS};\n"
        "#ifndef __CUDACC__"
        + lane_params("Fp", BASE_MODULUS, 8, 3)
        + lane_params("Fr", SCALAR_MODULUS, 5, 4)
        + half_params()
        + "#endif\n"
        + "".join(
            word_params(name, modulus, bits)
            for bits in (32, 64)
            for name, modulus in (("Fp", BASE_MODULUS), ("Fr", SCALAR_MODULUS))
        )
        + curve_params()
        + "\n}  // namespace cellar\n"
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(constants_header(), encoding="ascii")
