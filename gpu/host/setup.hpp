// What an engine derives from the trusted setup when it starts: the points of FK20's columns.
//
// For z = w^k, the proof's intermediate value is u_k = sum over b < 64 of C_b(z) Q_kb, where C_b(z) is coefficient b
// of the row modulo X^64 - z and Q_kb = sum over a < 63 of z^-(a+1) [s^(64 a + b)]: then h_m = the m-th entry of the
// inverse transform of u is the commitment to the part of the quotient that z^m multiplies, and the proofs are the
// transform of h_0 .. h_63. (FK20's Toeplitz products, with the rotation by 63 places moved into Q.)
//
// Q_kb over all k is a transform of size 128 over points, here in lanes over b: its input is [0, s^b, s^(64+b), ..].
//
// Source: Feist and Khovratovich, "Fast amortized KZG proofs", https://eprint.iacr.org/2023/033
#pragma once
#include "memory.hpp"
#include "rows.hpp"

namespace cellar {

constexpr int ROOT_HALVES = 2, ROOT_DIGITS = 26, ROOT_DIGIT_BITS = 5;

// [c] p with the same c in all lanes, given by the odd digits of its two halves, c = c1 + lambda c2.
inline Xyzz<Fp> multiply(const Xyzz<Fp>& p, const i16 (*digits)[ROOT_DIGITS], const Fp& beta) {
  Xyzz<Fp> odd[1 << (ROOT_DIGIT_BITS - 1)];
  const Xyzz<Fp> twice = dbl(p);
  odd[0] = p;
  for (int i = 1; i < 1 << (ROOT_DIGIT_BITS - 1); i++) odd[i] = add(odd[i - 1], twice);
  Xyzz<Fp> total = infinity<Fp>();
  for (int i = ROOT_DIGITS - 1; i >= 0; i--) {
    for (int k = 0; k < ROOT_DIGIT_BITS; k++) total = dbl(total);
    for (int half = 0; half < ROOT_HALVES; half++) {
      const int d = digits[half][i];
      Xyzz<Fp> multiple = cneg(d < 0 ? 0xff : 0, odd[(d < 0 ? -d : d) / 2]);
      if (half) multiple.x = Fp::mul(multiple.x, beta);
      total = add(total, multiple);
    }
  }
  return total;
}

// Position of z = w^k among the columns: even k first, each parity in order (as the convolution wants them).
CELLAR_HD int column_of(int k) { return k % 2 * (CELLS / 2) + k / 2; }
// The cell whose proof belongs to a column: z of cell i is w^brp(i).
CELLAR_HD int cell_of(int column) {
  return reversed_bits(2 * (column % (CELLS / 2)) + column / (CELLS / 2), 7);
}

// Points b = 8 v .. 8 v + 7 of all columns: out[column] for one vector of lanes b.
// monomial: [s^i], 8 to a vector; digits: [64 roots][2][26] of gpu.convolution.root_digits.
inline void column_points(Affine<Fp>* out, const Affine<Fp>* monomial, int v, const i16* digits) {
  constexpr int HALF = CELLS / 2;
  const Fp beta = Fp::constant(Curve::beta);
  const auto roots = reinterpret_cast<const i16(*)[ROOT_HALVES][ROOT_DIGITS]>(digits);
  Array<Xyzz<Fp>> value(CELLS);
  Array<Affine<Fp>> affine(CELLS);
  Array<Fp> scratch(CELLS);
  value[0] = infinity<Fp>();
  for (int a = 0; a + 1 < HALF; a++) value[a + 1] = from_affine(monomial[a * CELL_VECTORS + v]);
  for (int i = 0; i < HALF; i++) value[HALF + i] = value[i];
  const auto by_root = [&](int i) {
    return [&, i](Xyzz<Fp>& x, Xyzz<Fp>& y) {
      Xyzz<Fp> t = i == 0 ? y : multiply(y, roots[i], beta);  // zeta[0] = 1
      y = add(x, cneg(0xff, t));
      x = add(x, t);
    };
  };
  forward(&value[0], HALF, 1, 0, by_root);
  forward(&value[HALF], HALF, 1, 1, by_root);
  to_affine(affine.get(), value.get(), CELLS, scratch.get(), static_cast<Fp::Mask*>(nullptr));
  for (int i = 0; i < CELLS; i++) out[column_of((CELLS - reversed_bits(i, 7)) % CELLS)] = affine[i];
}

}  // namespace cellar
