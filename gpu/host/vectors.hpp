// Moving data between memory and lanes: transposes, big-endian field elements, packed points.
#pragma once
#include "group.cuh"
#include "lanes.hpp"

namespace cellar {

using V = __m512i;
constexpr int LANES = 8;

// rows[i] lane j <-> rows[j] lane i.
CELLAR_HD void transpose8(V* rows) {
  V t[8], u[8];
  CELLAR_UNROLL for (int i = 0; i < 8; i += 2) {
    t[i] = _mm512_unpacklo_epi64(rows[i], rows[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi64(rows[i], rows[i + 1]);
  }
  CELLAR_UNROLL for (int i = 0; i < 2; i++) {
    u[i] = _mm512_shuffle_i64x2(t[i], t[i + 2], 0x88);
    u[i + 2] = _mm512_shuffle_i64x2(t[i], t[i + 2], 0xdd);
    u[i + 4] = _mm512_shuffle_i64x2(t[i + 4], t[i + 6], 0x88);
    u[i + 6] = _mm512_shuffle_i64x2(t[i + 4], t[i + 6], 0xdd);
  }
  CELLAR_UNROLL for (int i = 0; i < 4; i++) {
    rows[i] = _mm512_shuffle_i64x2(u[i], u[i + 4], 0x88);
    rows[i + 4] = _mm512_shuffle_i64x2(u[i], u[i + 4], 0xdd);
  }
}

template <class F>
CELLAR_HD void transpose8_elements(F* rows) {
  CELLAR_UNROLL for (int limb = 0; limb < F::LIMBS; limb++) {
    V t[8];
    CELLAR_UNROLL for (int i = 0; i < 8; i++) t[i] = rows[i].v[limb];
    transpose8(t);
    CELLAR_UNROLL for (int i = 0; i < 8; i++) rows[i].v[limb] = t[i];
  }
}

CELLAR_HD V swap_bytes(V words) {
  const V order = _mm512_set4_epi32(0x08090a0b, 0x0c0d0e0f, 0x00010203, 0x04050607);
  return _mm512_shuffle_epi8(words, order);
}

// 8 big-endian integers of 32 bytes: their limbs, lane by lane.
CELLAR_HD Fr load_scalars(const u8* const* p) {
  V z[4], t[4], w[4];
  CELLAR_UNROLL for (int k = 0; k < 4; k++) {
    __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p[k]));
    __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p[k + 4]));
    z[k] = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
  t[0] = _mm512_unpacklo_epi64(z[0], z[1]), t[1] = _mm512_unpackhi_epi64(z[0], z[1]);
  t[2] = _mm512_unpacklo_epi64(z[2], z[3]), t[3] = _mm512_unpackhi_epi64(z[2], z[3]);
  const V first = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), second = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
  w[3] = swap_bytes(_mm512_permutex2var_epi64(t[0], first, t[2]));
  w[2] = swap_bytes(_mm512_permutex2var_epi64(t[1], first, t[3]));
  w[1] = swap_bytes(_mm512_permutex2var_epi64(t[0], second, t[2]));
  w[0] = swap_bytes(_mm512_permutex2var_epi64(t[1], second, t[3]));
  return Fr::from_word_vectors(w);
}

// The same for integers at p, p + stride, ...
CELLAR_HD Fr load_scalars(const u8* p, size_t stride) {
  const u8* at[LANES];
  CELLAR_UNROLL for (int i = 0; i < LANES; i++) at[i] = p + i * stride;
  return load_scalars(at);
}

// The reverse, for canonical integers.
CELLAR_HD void store_scalars(u8* p, size_t stride, const Fr& canonical) {
  V w[4], m[4];
  canonical.to_word_vectors(w);
  CELLAR_UNROLL for (int k = 0; k < 4; k++) m[k] = swap_bytes(w[3 - k]);
  V even_low = _mm512_unpacklo_epi64(m[0], m[1]), even_high = _mm512_unpacklo_epi64(m[2], m[3]);
  V odd_low = _mm512_unpackhi_epi64(m[0], m[1]), odd_high = _mm512_unpackhi_epi64(m[2], m[3]);
  const V first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  auto put = [&](int lane, V rows) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + lane * stride), _mm512_castsi512_si256(rows));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + (lane + 2) * stride), _mm512_extracti64x4_epi64(rows, 1));
  };
  put(0, _mm512_permutex2var_epi64(even_low, first, even_high));
  put(4, _mm512_permutex2var_epi64(even_low, second, even_high));
  put(1, _mm512_permutex2var_epi64(odd_low, first, odd_high));
  put(5, _mm512_permutex2var_epi64(odd_low, second, odd_high));
}

// A table's entry: x and y in Montgomery form, 6 words each. Stored values are below 3p < 2^384.
constexpr int PACKED_POINT_BYTES = 96;

CELLAR_HD Fp load_packed_x(const u8* const* entries) {
  V rows[8];
  CELLAR_UNROLL for (int i = 0; i < 8; i++) rows[i] = _mm512_loadu_si512(entries[i]);
  transpose8(rows);
  return Fp::from_word_vectors(rows);
}
CELLAR_HD Fp load_packed_y(const u8* const* entries) {
  V rows[8];
  CELLAR_UNROLL for (int i = 0; i < 8; i++) rows[i] = _mm512_loadu_si512(entries[i] + 32);
  transpose8(rows);
  return Fp::from_word_vectors(rows + 2);
}
inline void store_packed(u8* const* entries, const Affine<Fp>& point) {
  V x[8], y[8];
  point.x.to_word_vectors(x);
  point.y.to_word_vectors(y);
  x[6] = y[0], x[7] = y[1];
  V rest[8] = {y[2], y[3], y[4], y[5], y[2], y[2], y[2], y[2]};
  transpose8(x);
  transpose8(rest);
  for (int i = 0; i < 8; i++) {
    _mm512_storeu_si512(entries[i], x[i]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(entries[i] + 64), _mm512_castsi512_si256(rest[i]));
  }
}

}  // namespace cellar
