// Points of G1 to and from 48 bytes: the ZCash format.
//
// x, big-endian, with three flags in its top bits: 1 << 7 compressed (always set), 1 << 6 infinity (then all
// else is 0), 1 << 5 y is the larger root. Strict: a point has exactly one encoding that is accepted.
//
// Source: https://github.com/zkcrypto/bls12_381/blob/0.8.0/src/notes/serialization.rs
#pragma once
#include "constants.cuh"
#include "group.cuh"

namespace cellar {

constexpr int BYTES_PER_POINT = 48;
constexpr u8 FLAG_COMPRESSED = 0x80, FLAG_INFINITY = 0x40, FLAG_LARGER_Y = 0x20, FLAGS = 0xe0;

// a^((p+1)/4): the square root of a, if a is a square. Windows of 4 bits: 379 squarings and 94 products.
template <class F>
inline F square_root_candidate(const F& a) {
  F power[16];
  power[0] = F::one();
  for (int i = 1; i < 16; i++) power[i] = F::mul(power[i - 1], a);
  F out = F::one();
  for (int i = 95; i >= 0; i--) {
    for (int k = 0; k < 4; k++) out = F::sqr(out);
    out = F::mul(out, power[Curve::sqrt_exponent(i / 16) >> (4 * (i % 16)) & 15]);
  }
  return out;
}

// y with y^2 = x^3 + 4; false where there is none.
template <class F>
CELLAR_HD typename F::Mask solve_y(const F& x, F& y) {
  F square = F::add(F::mul(F::sqr(x), x), F::constant(Curve::curve_b));
  y = square_root_candidate(square);
  return F::is_zero(F::sub(F::sqr(y), square));
}

// P is in G1 exactly if phi^2(P) = [-x^2] P, phi^2(x, y) = (beta^2 x, y): -x^2 = lambda^2 is the eigenvalue there, and
// no other point of the curve has it so (this x is the BLS parameter). P must be on the curve and affine.
// Source: Scott, "A note on group membership tests for G1, G2 and GT", https://eprint.iacr.org/2021/1130
template <class F>
inline typename F::Mask in_subgroup(const Affine<F>& p) {
  Xyzz<F> q = from_affine(p);
  for (int round = 0; round < 2; round++) {
    Xyzz<F> base = q;
    for (int i = 62; i >= 0; i--) {  // the top bit of x is bit 63
      q = dbl(q);
      if (Curve::ABS_X >> i & 1) q = add(q, base);
    }
  }
  F beta = F::constant(Curve::beta);
  F image_x = F::mul(F::mul(p.x, beta), beta);
  // q = -phi^2(p): X = beta^2 x ZZ, Y = -y ZZZ; and q is not infinity, of which both would hold too.
  typename F::Mask x_equal = F::is_zero(F::sub(q.x, F::mul(image_x, q.zz)));
  typename F::Mask y_equal = F::is_zero(F::add(q.y, F::mul(p.y, q.zzz)));
  return F::without(x_equal & y_equal, is_infinity(q));
}

}  // namespace cellar
