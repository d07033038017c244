// Compressed points in lanes: 8 at a time to and from memory.
#pragma once
#include <string.h>

#include "codec.cuh"
#include "jacobian.hpp"
#include "vectors.hpp"

namespace cellar {

// Writes up to 8 points; lanes of `infinite` become the encoding of infinity.
inline void compress(u8* const* out, int count, const Affine<Fp>& point, Fp::Mask infinite) {
  Fp x = Fp::from_montgomery(point.x), y = Fp::from_montgomery(point.y);
  u64 half[Fp::LIMBS], half_words[6];
  for (int i = 0; i < 6; i++) half_words[i] = Curve::half_p(i);
  Fp::words_to_limbs(half_words, half);
  half[0]++;  // y > (p-1)/2 is y >= (p-1)/2 + 1; (p-1)/2 does not end in 52 ones
  Fp::Mask larger = Fp::Mask(~Fp::below(y, half));
  V words[6];
  x.to_word_vectors(words);
  alignas(64) u64 rows[6][8];
  for (int w = 0; w < 6; w++) _mm512_store_si512(rows[w], swap_bytes(words[5 - w]));
  for (int lane = 0; lane < count; lane++) {
    if (infinite >> lane & 1) {
      memset(out[lane], 0, BYTES_PER_POINT);
      out[lane][0] = FLAG_COMPRESSED | FLAG_INFINITY;
      continue;
    }
    for (int w = 0; w < 6; w++) memcpy(out[lane] + 8 * w, &rows[w][lane], 8);
    out[lane][0] |= FLAG_COMPRESSED | (larger >> lane & 1 ? FLAG_LARGER_Y : 0);
  }
}

// Reads `count` <= 8 points (the other lanes repeat the first). Lanes that are infinity are in `infinite`, and
// their coordinates mean nothing. Returns the lanes that are not the encoding of a point of the curve.
inline Fp::Mask decompress(const u8* const* in, int count, Affine<Fp>& point, Fp::Mask& infinite) {
  alignas(64) u64 rows[6][8];
  Fp::Mask bad = 0, larger = 0;
  infinite = 0;
  for (int lane = 0; lane < LANES; lane++) {
    u8 bytes[BYTES_PER_POINT];
    memcpy(bytes, in[lane < count ? lane : 0], BYTES_PER_POINT);
    const u8 flags = bytes[0] & FLAGS;
    const Fp::Mask bit = Fp::Mask(1 << lane);
    bytes[0] &= u8(~FLAGS);
    if (!(flags & FLAG_COMPRESSED)) bad |= bit;
    if (flags & FLAG_LARGER_Y) larger |= bit;
    if (flags & FLAG_INFINITY) {
      infinite |= bit;
      u8 any = flags & FLAG_LARGER_Y;
      for (u8 byte : bytes) any |= byte;
      if (any) bad |= bit;
    }
    for (int w = 0; w < 6; w++) memcpy(&rows[5 - w][lane], bytes + 8 * w, 8);
  }
  V words[6];
  for (int w = 0; w < 6; w++) words[w] = swap_bytes(_mm512_load_si512(rows[w]));
  Fp x = Fp::from_word_vectors(words);
  bad |= Fp::Mask(~Fp::below(x, FpLanes::MODULUS));
  point.x = Fp::to_montgomery(x);
  Fp::Mask solved = solve_y(point.x, point.y);
  bad |= Fp::Mask(~solved) & Fp::Mask(~infinite);
  u64 half[Fp::LIMBS], half_words[6];
  for (int i = 0; i < 6; i++) half_words[i] = Curve::half_p(i);
  Fp::words_to_limbs(half_words, half);
  half[0]++;
  Fp::Mask is_larger = Fp::Mask(~Fp::below(Fp::from_montgomery(point.y), half));
  point.y = Fp::cneg(is_larger ^ larger, point.y);
  return count < LANES ? bad & Fp::Mask((1 << count) - 1) : bad;
}

// Lanes of each of two vectors of points that are in G1.
struct Members {
  Fp::Mask first, second;
};

// The test of in_subgroup (codec.cuh) for two vectors at once. The additions are incomplete: multiples of a point of
// G1 that are added here never meet, and a point whose multiples do ends at infinity, outside, as it is.
inline Members in_subgroup(const Affine<Fp>& a, const Affine<Fp>& b) {
  Jacobian<Twin<Fp>> q = jacobian(twin(a, b));
  for (int round = 0; round < 2; round++) {
    const Jacobian<Twin<Fp>> base = q;
    for (int i = 62; i >= 0; i--) {  // the top bit of x is bit 63
      q = dbl(q);
      if (Curve::ABS_X >> i & 1) q = add_incomplete(q, base);
    }
  }
  const Fp beta = Fp::constant(Curve::beta), beta2 = Fp::sqr(beta);
  // q = -phi^2(p), as there.
  const auto equal = [&](const Xyzz<Fp>& found, const Affine<Fp>& p) {
    const Fp::Mask x_equal = Fp::is_zero(Fp::sub(found.x, Fp::mul(Fp::mul(p.x, beta2), found.zz)));
    const Fp::Mask y_equal = Fp::is_zero(Fp::add(found.y, Fp::mul(p.y, found.zzz)));
    return Fp::without(x_equal & y_equal, is_infinity(found));
  };
  return {equal(to_xyzz(first(q)), a), equal(to_xyzz(second(q)), b)};
}

}  // namespace cellar
