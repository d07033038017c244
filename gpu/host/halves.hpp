// A scalar as the comb reads it (comb.cuh): two odd integers of 128 signed bits, s = first + lambda second.
//
// lambda is an eigenvalue of the endomorphism phi(x, y) = (beta x, y), so s P = first P + second phi(P): a table of
// the multiples of P serves both halves, and phi is applied once, to the sums of all second halves. Division by
// lambda gives 0 <= first < lambda, 0 <= second <= lambda + 1; a vector of the lattice of zeros, first + lambda second
// = 0 mod r, then makes both odd, and both stay below 2^128 in size (asserted in gpu/constants.py).
//
// Source: Gallant, Lambert and Vanstone, "Faster point multiplication on elliptic curves with efficient endomorphisms"
#pragma once
#include "vectors.hpp"

namespace cellar {

constexpr int HALVES = 2, HALF_BITS = 128;

// The bits of (s >> 1) + 2^255 for s made odd, from canonical s: not cut, but the same way to read bits as signs.
inline void recode(const Fr& canonical, V* words) {
  const V low52 = _mm512_set1_epi64((1ll << 52) - 1);
  __mmask8 even = _mm512_testn_epi64_mask(canonical.v[0], _mm512_set1_epi64(1));
  Fr odd;
  V carry = _mm512_setzero_si512();
  CELLAR_UNROLL for (int i = 0; i < Fr::LIMBS; i++) {
    V t = _mm512_add_epi64(canonical.v[i], carry);
    t = _mm512_mask_add_epi64(t, even, t, _mm512_set1_epi64(i64(FrLanes::MODULUS[i])));
    odd.v[i] = _mm512_and_si512(t, low52);
    carry = _mm512_srli_epi64(t, 52);
  }
  V whole[4];
  odd.to_word_vectors(whole);
  CELLAR_UNROLL for (int i = 0; i < 3; i++)
    words[i] = _mm512_or_si512(_mm512_srli_epi64(whole[i], 1), _mm512_slli_epi64(whole[i + 1], 63));
  words[3] = _mm512_or_si512(_mm512_srli_epi64(whole[3], 1), _mm512_set1_epi64(i64(1ull << 63)));
}

// The bits of (half >> 1) + 2^127 of both halves, two words each. A bit stands for + or - its power of two.
inline void recode_halves(const Fr& canonical, V* words) {
  constexpr int LIMBS = HalfLanes::LIMBS;
  const V low52 = _mm512_set1_epi64((1ll << 52) - 1), one = _mm512_set1_epi64(1);
  const auto constant = [](const u64* limbs, int i) { return _mm512_set1_epi64(i64(limbs[i])); };

  // The quotient from the reciprocal 2^260 / lambda: exact, or one too small.
  V product[Fr::LIMBS + LIMBS];
  for (V& limb : product) limb = _mm512_setzero_si512();
  CELLAR_UNROLL for (int i = 0; i < Fr::LIMBS; i++) {
    CELLAR_UNROLL for (int j = 0; j < LIMBS; j++) {
      const V factor = constant(HalfLanes::RECIPROCAL, j);
      product[i + j] = _mm512_madd52lo_epu64(product[i + j], canonical.v[i], factor);
      product[i + j + 1] = _mm512_madd52hi_epu64(product[i + j + 1], canonical.v[i], factor);
    }
  }
  V half[HALVES][LIMBS], carry = _mm512_setzero_si512();
  CELLAR_UNROLL for (int i = 0; i < Fr::LIMBS + LIMBS; i++) {
    V t = _mm512_add_epi64(product[i], carry);
    if (i >= Fr::LIMBS) half[1][i - Fr::LIMBS] = _mm512_and_si512(t, low52);
    carry = _mm512_srli_epi64(t, 52);
  }
  V multiple[LIMBS + 1];
  for (V& limb : multiple) limb = _mm512_setzero_si512();
  CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) {
    CELLAR_UNROLL for (int j = 0; i + j < LIMBS; j++) {
      const V factor = constant(HalfLanes::LAMBDA, j);
      multiple[i + j] = _mm512_madd52lo_epu64(multiple[i + j], half[1][i], factor);
      multiple[i + j + 1] = _mm512_madd52hi_epu64(multiple[i + j + 1], half[1][i], factor);
    }
  }
  V reduced[LIMBS], borrow = carry = _mm512_setzero_si512();
  CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) {
    V t = _mm512_add_epi64(_mm512_sub_epi64(canonical.v[i], multiple[i]), carry);
    half[0][i] = _mm512_and_si512(t, low52);
    carry = _mm512_srai_epi64(t, 52);
    t = _mm512_add_epi64(_mm512_sub_epi64(half[0][i], constant(HalfLanes::LAMBDA, i)), borrow);
    reduced[i] = _mm512_and_si512(t, low52);
    borrow = _mm512_srai_epi64(t, 52);
  }
  const __mmask8 small = _mm512_movepi64_mask(borrow);
  CELLAR_UNROLL for (int i = 0; i < LIMBS; i++)
    half[0][i] = _mm512_mask_blend_epi64(small, reduced[i], half[0][i]);
  half[1][0] = _mm512_mask_add_epi64(half[1][0], __mmask8(~small), half[1][0], one);

  const V parity = _mm512_or_si512(_mm512_and_si512(half[0][0], one),
                                   _mm512_slli_epi64(_mm512_and_si512(half[1][0], one), 1));
  CELLAR_UNROLL for (int h = 0; h < HALVES; h++) {
    V limb[LIMBS];
    carry = _mm512_setzero_si512();
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) {
      const V step = _mm512_load_si512(static_cast<const void*>(HalfLanes::MAKE_ODD[h][i]));
      V t = _mm512_add_epi64(_mm512_add_epi64(half[h][i], _mm512_permutexvar_epi64(parity, step)), carry);
      limb[i] = _mm512_and_si512(t, low52);
      carry = _mm512_srli_epi64(t, 52);
    }
    words[2 * h] = _mm512_or_si512(_mm512_srli_epi64(limb[0], 1), _mm512_slli_epi64(limb[1], 51));
    words[2 * h + 1] = _mm512_or_si512(_mm512_srli_epi64(limb[1], 13), _mm512_slli_epi64(limb[2], 39));
  }
}

}  // namespace cellar
