// A field element in each of 8 lanes: limbs of 52 bits, AVX-512 IFMA, Montgomery form with R = 2^(52 LIMBS).
//
// Invariants of a stored value: every limb is in [0, 2^52), the value is below BOUND m (3p or 4r). IFMA reads
// only the low 52 bits of a factor, so every sum is carry-normalised before it may be a factor. Differences
// that only become factors ('lazy') skip the reduction and stay below 2 BOUND m; gpu/constants.py asserts that
// products of them still come out below BOUND m.
//
// Products: LIMBS steps add x[i] y and q N/2^52, where N = m (-1/m mod 2^52) = -1 mod 2^52 is the 'friendly'
// multiple of m: q is then the low limb itself, and adding q N only carries q into the next limb. The last
// step uses m, which keeps the result below 2m + eps. Sums of x y and of q N have accumulators of their own:
// 4 LIMBS independent chains, not 2 LIMBS, hide the latency of madd52.
//
// It implements the field concept of kernels/field.md in lanes: Mask has a bit for each lane.
#pragma once
#include <immintrin.h>

#include "base.cuh"
#include "constants.cuh"
#include "inverse.hpp"

namespace cellar {

#define CELLAR_UNROLL _Pragma("GCC unroll 16")

template <class P>
struct alignas(64) Lanes {
  static constexpr int LIMBS = P::LIMBS;
  static constexpr int COUNT = 8;
  using Params = P;
  using Mask = __mmask8;
  using V = __m512i;
  V v[LIMBS];

  // ---- constants and moving --------------------------------------------------------------------------

  static CELLAR_HD Lanes broadcast(const u64* limbs) {
    Lanes out;
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) out.v[i] = _mm512_set1_epi64(i64(limbs[i]));
    return out;
  }
  static CELLAR_HD Lanes zero() {
    Lanes out;
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) out.v[i] = _mm512_setzero_si512();
    return out;
  }
  static CELLAR_HD Lanes one() { return broadcast(P::ONE); }

  static CELLAR_HD Lanes select(Mask m, const Lanes& yes, const Lanes& no) {
    Lanes out;
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) out.v[i] = _mm512_mask_blend_epi64(m, no.v[i], yes.v[i]);
    return out;
  }
  static CELLAR_HD bool any(Mask m) { return m != 0; }
  static CELLAR_HD Mask without(Mask m, Mask excluded) { return m & Mask(~excluded); }

  // Lane i of the result is lane index[i] of x.
  static CELLAR_HD Lanes permute(const Lanes& x, V index) {
    Lanes out;
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) out.v[i] = _mm512_permutexvar_epi64(index, x.v[i]);
    return out;
  }
  CELLAR_HD void lane(int lane, u64* limbs) const {
    for (int i = 0; i < LIMBS; i++) limbs[i] = reinterpret_cast<const u64*>(&v[i])[lane];
  }
  CELLAR_HD void set_lane(int lane, const u64* limbs) {
    for (int i = 0; i < LIMBS; i++) reinterpret_cast<u64*>(&v[i])[lane] = limbs[i];
  }

  // ---- sums --------------------------------------------------------------------------------------------

  static CELLAR_HD Lanes add(const Lanes& x, const Lanes& y) {
    Lanes s;
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) s.v[i] = _mm512_add_epi64(x.v[i], y.v[i]);
    return reduced(s);
  }
  static CELLAR_HD Lanes sub(const Lanes& x, const Lanes& y) { return reduced(difference(x, y)); }
  // x - y + BOUND m, below 2 BOUND m: only ever a factor.
  static CELLAR_HD Lanes sub_lazy(const Lanes& x, const Lanes& y) { return carried(difference(x, y)); }
  static CELLAR_HD Lanes dbl(const Lanes& x) { return add(x, x); }
  static CELLAR_HD Lanes neg(const Lanes& x) { return sub(zero(), x); }
  static CELLAR_HD Lanes cneg(Mask m, const Lanes& x) { return select(m, neg(x), x); }

  // (m ? -y : y) - x, below 3 BOUND m: only ever a factor, and only in the base field, whose R leaves room.
  static CELLAR_HD Lanes signed_sub_lazy(Mask m, const Lanes& y, const Lanes& x) {
    static_assert(LIMBS == 8, "R / modulus must leave room for a factor below 9 m");
    Lanes s;
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) {
      V t = _mm512_sub_epi64(_mm512_set1_epi64(i64(P::MULTIPLES[i][2 * P::BOUND])), x.v[i]);
      s.v[i] = _mm512_mask_sub_epi64(_mm512_add_epi64(t, y.v[i]), m, t, y.v[i]);
    }
    return carried(s);
  }

  // ---- products ----------------------------------------------------------------------------------------

  static CELLAR_HD Lanes mul(const Lanes& x, const Lanes& y) {
    Lanes out;
    mul_call(&out, &x, &y);
    return out;
  }
  static CELLAR_HD Lanes sqr(const Lanes& x) {
    Lanes out;
    sqr_call(&out, &x);
    return out;
  }
  // x y - c, reduced.
  static CELLAR_HD Lanes mul_sub(const Lanes& x, const Lanes& y, const Lanes& c) {
    Lanes out;
    mul_sub_call(&out, &x, &y, &c);
    return out;
  }
  // x^2 - c, reduced.
  static CELLAR_HD Lanes sqr_sub(const Lanes& x, const Lanes& c) {
    Lanes out;
    sqr_sub_call(&out, &x, &c);
    return out;
  }
  // x^2 - x1 - x2, reduced, from c = sub_lazy(x2, x1): x^2 - c - 2 x1 + 3 BOUND m nets to + 2 BOUND m.
  static CELLAR_HD Lanes chord_x(const Lanes& x, const Lanes& c, const Lanes& x1) {
    Lanes out;
    chord_x_call(&out, &x, &c, &x1);
    return out;
  }

  // A sum of products that waits for one reduction: an accumulator gets at most 64 * 2 LIMBS halves of 52 bits.
  struct Sum {
    V a[2 * LIMBS];
    CELLAR_HD void clear() {
      CELLAR_UNROLL for (int i = 0; i < 2 * LIMBS; i++) a[i] = _mm512_setzero_si512();
    }
    CELLAR_HD void add_product(const Lanes& x, const Lanes& y) {
      CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) {
        CELLAR_UNROLL for (int j = 0; j < LIMBS; j++) {
          a[i + j] = _mm512_madd52lo_epu64(a[i + j], x.v[i], y.v[j]);
          a[i + j + 1] = _mm512_madd52hi_epu64(a[i + j + 1], x.v[i], y.v[j]);
        }
      }
    }
  };

  // ---- tests and normal forms ----------------------------------------------------------------------------

  static CELLAR_HD Mask is_zero(const Lanes& x) {
    Mask hit = 0;
    CELLAR_UNROLL for (int q = 0; q < P::BOUND; q++)
      hit |= _mm512_cmpeq_epi64_mask(x.v[0], _mm512_set1_epi64(i64(P::MULTIPLES[0][q])));
    return hit == 0 ? Mask(0) : is_zero_slow(x);
  }

  // The representative in [0, m).
  static CELLAR_HD Lanes canonical(const Lanes& x) {
    Lanes out = x;
    CELLAR_UNROLL for (int q = 1; q < P::BOUND; q++) out = subtract_if_not_below(out, P::MODULUS);
    return out;
  }

  // x < c, lane by lane, for normalised limbs.
  static CELLAR_HD Mask below(const Lanes& x, const u64* limbs) {
    V borrow = _mm512_setzero_si512();
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) {
      V t = _mm512_add_epi64(_mm512_sub_epi64(x.v[i], _mm512_set1_epi64(i64(limbs[i]))), borrow);
      borrow = _mm512_srai_epi64(t, 52);
    }
    return _mm512_movepi64_mask(borrow);
  }

  // 1/x in each lane, 0 where x is 0: one inversion of the product of all lanes, shared by a tree.
  static __attribute__((noinline)) Lanes inverse(const Lanes& x) {
    Mask zeros = is_zero(x);
    Lanes safe = zeros ? select(zeros, one(), x) : x;
    const V swap1 = _mm512_setr_epi64(1, 0, 3, 2, 5, 4, 7, 6), swap2 = _mm512_setr_epi64(2, 3, 0, 1, 6, 7, 4, 5),
            swap4 = _mm512_setr_epi64(4, 5, 6, 7, 0, 1, 2, 3);
    Lanes other1 = permute(safe, swap1), pair = mul(safe, other1);
    Lanes other2 = permute(pair, swap2), quad = mul(pair, other2);
    Lanes other4 = permute(quad, swap4), whole = canonical(mul(quad, other4));
    u64 limbs[LIMBS], words[P::WORDS], inverted[P::WORDS];
    whole.lane(0, limbs);
    limbs_to_words(limbs, words);
    Inverter<P>::invert(words, inverted);
    words_to_limbs(inverted, limbs);
    // The words held x R: their inverse is 1/(x R), and two factors of R make it R/x.
    Lanes all_inverse = mul(broadcast(limbs), broadcast(P::R3));
    Lanes out = mul(mul(all_inverse, other4), mul(other2, other1));
    return zeros ? select(zeros, zero(), out) : out;
  }

  static CELLAR_HD void limbs_to_words(const u64* limbs, u64* words) {
    for (int w = 0; w < P::WORDS; w++) {
      int limb = 64 * w / 52, shift = 64 * w % 52;
      words[w] = limbs[limb] >> shift | limbs[limb + 1] << (52 - shift);
      if (104 - shift < 64 && limb + 2 < LIMBS) words[w] |= limbs[limb + 2] << (104 - shift);
    }
  }
  static CELLAR_HD void words_to_limbs(const u64* words, u64* limbs) {
    for (int i = 0; i < LIMBS; i++) {
      int word = 52 * i / 64, shift = 52 * i % 64;
      u64 value = word < P::WORDS ? words[word] >> shift : 0;
      if (shift > 12 && word + 1 < P::WORDS) value |= words[word + 1] << (64 - shift);
      limbs[i] = value & ((1ull << 52) - 1);
    }
  }

  // The same between vectors of words, canonical integers on both sides; `words` has P::WORDS vectors.
  static CELLAR_HD Lanes from_word_vectors(const V* words) {
    const V low52 = _mm512_set1_epi64((1ll << 52) - 1);
    Lanes out;
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) {
      const int word = 52 * i / 64, shift = 52 * i % 64;
      V value = word < P::WORDS ? _mm512_srli_epi64(words[word < P::WORDS ? word : 0], shift) : _mm512_setzero_si512();
      if (shift > 12 && word + 1 < P::WORDS)
        value = _mm512_or_si512(value, _mm512_slli_epi64(words[word + 1 < P::WORDS ? word + 1 : 0], 64 - shift));
      out.v[i] = _mm512_and_si512(value, low52);
    }
    return out;
  }
  CELLAR_HD void to_word_vectors(V* words) const {
    CELLAR_UNROLL for (int w = 0; w < P::WORDS; w++) {
      const int limb = 64 * w / 52, shift = 64 * w % 52;
      words[w] = _mm512_or_si512(_mm512_srli_epi64(v[limb], shift), _mm512_slli_epi64(v[limb + 1], 52 - shift));
      if (104 - shift < 64 && limb + 2 < LIMBS)
        words[w] = _mm512_or_si512(words[w], _mm512_slli_epi64(v[limb + 2 < LIMBS ? limb + 2 : 0], 104 - shift));
    }
  }

  // Between canonical integers and Montgomery form; the integers' limbs are normalised.
  static CELLAR_HD Lanes to_montgomery(const Lanes& x) { return mul(x, broadcast(P::R2)); }
  static CELLAR_HD Lanes from_montgomery(const Lanes& x) {
    Lanes plain_one = zero();
    plain_one.v[0] = _mm512_set1_epi64(1);
    return canonical(mul(x, plain_one));
  }
  // The same number in all lanes, from canonical 64-bit words (a function of the index, as constants are).
  template <class Words>
  static CELLAR_HD Lanes constant(Words words_of) {
    u64 words[P::WORDS], limbs[LIMBS];
    for (int i = 0; i < P::WORDS; i++) words[i] = words_of(i);
    words_to_limbs(words, limbs);
    return to_montgomery(broadcast(limbs));
  }

  // The value of a sum of at most 64 products, as a stored value: of x below 2.5 m and canonical y, or, in the base
  // field, of any stored values. That it stays below the 8 * 2^bits(m) that `reduced` takes is asserted in
  // gpu/constants.py.
  static CELLAR_HD Lanes reduce_sum(const Sum& sum) {
    Lanes out;
    reduce_sum_call(&out, &sum);
    return out;
  }

 private:
  static CELLAR_HD Lanes difference(const Lanes& x, const Lanes& y) {
    Lanes s;
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++)
      s.v[i] = _mm512_add_epi64(_mm512_sub_epi64(x.v[i], y.v[i]),
                                _mm512_set1_epi64(i64(P::MULTIPLES[i][P::BOUND])));
    return s;
  }

  // Brings limbs, which may be negative or beyond 52 bits, into [0, 2^52); the value must not be negative.
  static CELLAR_HD Lanes carried(const Lanes& s) {
    const V low52 = _mm512_set1_epi64((1ll << 52) - 1);
    Lanes out;
    V carry = _mm512_setzero_si512();
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) {
      V t = _mm512_add_epi64(s.v[i], carry);
      out.v[i] = _mm512_and_si512(t, low52);
      carry = _mm512_srai_epi64(t, 52);
    }
    return out;
  }

  // Subtracts floor(v / 2^bits(m)) times m, estimated from the top limb before the carries below it arrive:
  // v < 8 * 2^bits(m) leaves less than BOUND m (asserted in gpu/constants.py). A borrow may have made the top
  // limb of a tiny value -1.
  static CELLAR_HD Lanes reduced(const Lanes& s) {
    V q = _mm512_max_epi64(_mm512_srai_epi64(s.v[LIMBS - 1], P::TOP_SHIFT), _mm512_setzero_si512());
    Lanes t;
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++)
      t.v[i] = _mm512_sub_epi64(
          s.v[i], _mm512_permutexvar_epi64(q, _mm512_load_si512(static_cast<const void*>(P::MULTIPLES[i]))));
    return carried(t);
  }

  static CELLAR_HD Lanes subtract_if_not_below(const Lanes& x, const u64* limbs) {
    const V low52 = _mm512_set1_epi64((1ll << 52) - 1);
    Lanes less;
    V carry = _mm512_setzero_si512();
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) {
      V t = _mm512_add_epi64(_mm512_sub_epi64(x.v[i], _mm512_set1_epi64(i64(limbs[i]))), carry);
      less.v[i] = _mm512_and_si512(t, low52);
      carry = _mm512_srai_epi64(t, 52);
    }
    return select(_mm512_movepi64_mask(carry), x, less);
  }

  static __attribute__((noinline)) Mask is_zero_slow(const Lanes& x) {
    Mask hit = 0;
    for (int q = 0; q < P::BOUND; q++) {
      Mask equal = 0xff;
      for (int i = 0; i < LIMBS; i++)
        equal &= _mm512_cmpeq_epi64_mask(x.v[i], _mm512_set1_epi64(i64(P::MULTIPLES[i][q])));
      hit |= equal;
    }
    return hit;
  }

  // Adds the multiple of m that clears limb i, whose sum is t; returns what t carries into limb i + 1.
  static CELLAR_HD V montgomery_step(V* qn, int i, V t) {
    if (i < LIMBS - 1) {
      CELLAR_UNROLL for (int j = 0; j < LIMBS; j++) {
        V n = _mm512_set1_epi64(i64(P::FRIENDLY[j]));
        qn[i + 1 + j] = _mm512_madd52lo_epu64(qn[i + 1 + j], t, n);
        qn[i + 2 + j] = _mm512_madd52hi_epu64(qn[i + 2 + j], t, n);
      }
      return _mm512_srli_epi64(t, 52);
    }
    V q = _mm512_madd52lo_epu64(_mm512_setzero_si512(), t, _mm512_set1_epi64(i64(P::NEG_INVERSE)));
    V cleared = _mm512_madd52lo_epu64(t, q, _mm512_set1_epi64(i64(P::MODULUS[0])));
    CELLAR_UNROLL for (int j = 0; j < LIMBS; j++) {
      V n = _mm512_set1_epi64(i64(P::MODULUS[j]));
      if (j > 0) qn[i + j] = _mm512_madd52lo_epu64(qn[i + j], q, n);
      qn[i + j + 1] = _mm512_madd52hi_epu64(qn[i + j + 1], q, n);
    }
    return _mm512_srli_epi64(cleared, 52);
  }

  // Limbs of x y / R before any carry is moved up: below 2^58 each, value below 2m + eps.
  static CELLAR_HD Lanes product(const Lanes& x, const Lanes& y) {
    V xy[2 * LIMBS], qn[2 * LIMBS];
    CELLAR_UNROLL for (int i = 0; i < 2 * LIMBS; i++) xy[i] = qn[i] = _mm512_setzero_si512();
    V carry = _mm512_setzero_si512();
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) {
      CELLAR_UNROLL for (int j = 0; j < LIMBS; j++) {
        xy[i + j] = _mm512_madd52lo_epu64(xy[i + j], x.v[i], y.v[j]);
        xy[i + j + 1] = _mm512_madd52hi_epu64(xy[i + j + 1], x.v[i], y.v[j]);
      }
      V t = _mm512_add_epi64(_mm512_add_epi64(xy[i], qn[i]), carry);
      carry = montgomery_step(qn, i, t);
    }
    Lanes out;
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) out.v[i] = _mm512_add_epi64(xy[LIMBS + i], qn[LIMBS + i]);
    out.v[0] = _mm512_add_epi64(out.v[0], carry);
    return out;
  }

  // The same for x x: products of two different limbs are added once and doubled, which saves 56 of 256 multiply-adds.
  // Step i adds those of limb i and later ones: all that columns up to 2 i + 1 get.
  static CELLAR_HD Lanes square(const Lanes& x) {
    V xx[2 * LIMBS], qn[2 * LIMBS];
    CELLAR_UNROLL for (int i = 0; i < 2 * LIMBS; i++) xx[i] = qn[i] = _mm512_setzero_si512();
    const auto doubled_and_squared = [&](int k) {
      V twice = _mm512_add_epi64(xx[k], xx[k]);
      return k % 2 ? _mm512_madd52hi_epu64(twice, x.v[k / 2], x.v[k / 2])
                   : _mm512_madd52lo_epu64(twice, x.v[k / 2], x.v[k / 2]);
    };
    V carry = _mm512_setzero_si512();
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) {
      CELLAR_UNROLL for (int j = i + 1; j < LIMBS; j++) {
        xx[i + j] = _mm512_madd52lo_epu64(xx[i + j], x.v[i], x.v[j]);
        xx[i + j + 1] = _mm512_madd52hi_epu64(xx[i + j + 1], x.v[i], x.v[j]);
      }
      V t = _mm512_add_epi64(_mm512_add_epi64(doubled_and_squared(i), qn[i]), carry);
      carry = montgomery_step(qn, i, t);
    }
    Lanes out;
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++)
      out.v[i] = _mm512_add_epi64(doubled_and_squared(LIMBS + i), qn[LIMBS + i]);
    out.v[0] = _mm512_add_epi64(out.v[0], carry);
    return out;
  }

  static __attribute__((noinline)) void reduce_sum_call(Lanes* out, const Sum* sum) {
    V a[2 * LIMBS];
    CELLAR_UNROLL for (int i = 0; i < 2 * LIMBS; i++) a[i] = sum->a[i];
    V carry = _mm512_setzero_si512();
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) {
      V t = _mm512_add_epi64(a[i], carry);
      carry = montgomery_step(a, i, t);
    }
    Lanes s;
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) s.v[i] = a[LIMBS + i];
    s.v[0] = _mm512_add_epi64(s.v[0], carry);
    *out = reduced(carried(s));
  }

  // Functions, not inlined: the code stays small, and a call costs nothing beside 250 multiply-adds.
  static __attribute__((noinline)) void mul_call(Lanes* out, const Lanes* x, const Lanes* y) {
    *out = carried(product(*x, *y));
  }
  static __attribute__((noinline)) void mul_sub_call(Lanes* out, const Lanes* x, const Lanes* y, const Lanes* c) {
    Lanes s = product(*x, *y);
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++)
      s.v[i] = _mm512_add_epi64(s.v[i], _mm512_sub_epi64(_mm512_set1_epi64(i64(P::MULTIPLES[i][P::BOUND])), c->v[i]));
    *out = reduced(s);
  }
  static __attribute__((noinline)) void sqr_call(Lanes* out, const Lanes* x) { *out = carried(square(*x)); }
  static __attribute__((noinline)) void sqr_sub_call(Lanes* out, const Lanes* x, const Lanes* c) {
    Lanes s = square(*x);
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++)
      s.v[i] = _mm512_add_epi64(s.v[i], _mm512_sub_epi64(_mm512_set1_epi64(i64(P::MULTIPLES[i][P::BOUND])), c->v[i]));
    *out = reduced(s);
  }
  static __attribute__((noinline)) void chord_x_call(Lanes* out, const Lanes* x, const Lanes* c, const Lanes* x1) {
    static_assert(LIMBS == 8, "3 BOUND m must fit");
    Lanes s = square(*x);
    CELLAR_UNROLL for (int i = 0; i < LIMBS; i++) {
      V offset = _mm512_set1_epi64(i64(P::MULTIPLES[i][P::BOUND] + P::MULTIPLES[i][2 * P::BOUND]));
      V subtrahend = _mm512_add_epi64(c->v[i], _mm512_add_epi64(x1->v[i], x1->v[i]));
      s.v[i] = _mm512_add_epi64(s.v[i], _mm512_sub_epi64(offset, subtrahend));
    }
    *out = reduced(s);
  }
};

using Fp = Lanes<FpLanes>;
using Fr = Lanes<FrLanes>;

}  // namespace cellar
