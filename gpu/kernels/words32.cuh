// One field element in 32-bit words: the field concept (field.md) for a CUDA thread.
//
// Every value is canonical, in Montgomery form with R = 2^(32 WORDS): the bytes in memory are those of the plain 64-bit
// words of words.cuh. The modulus leaves at least its top bit free, so a sum of two values needs no carry word.
//
// Products: even/odd CIOS. The multiplier's words are taken in turn; products with the even words of the other factor
// go to one accumulator, those with the odd words to another that stands one word higher. Within an accumulator,
// neighbouring products touch without overlap, so one carry chain adds all of them, and each low/high pair is one
// wide multiply. Dividing by 2^32 then only swaps the accumulators' roles.
//
// `mul` is not inlined, and takes its operands by value: they travel in registers, and code stays small.
//
// Source: Montgomery, "Modular multiplication without trial division" (1985); the arrangement is that of
// https://github.com/supranational/sppark (ff/mont_t.cuh), whose code is not used.
#pragma once
#include "base.cuh"
#include "carry.cuh"
#include "constants.cuh"

namespace cellar {

#ifdef __CUDACC__
#define CELLAR_CALL static __device__ __noinline__
#else
#define CELLAR_CALL static __attribute__((noinline))
#endif

template <class P>
struct alignas(16) Words32 {
  static constexpr int WORDS = P::WORDS;
  static_assert(WORDS % 2 == 0 && (P::modulus(WORDS - 1) >> 31) == 0, "pairs of words, and a free bit on top");
  using Mask = bool;
  u32 w[WORDS];

  static CELLAR_HD Words32 zero() { return Words32{}; }
  static CELLAR_HD Words32 one() {
    Words32 out;
    CELLAR_UNROLL_ALL for (int i = 0; i < WORDS; i++) out.w[i] = P::one(i);
    return out;
  }
  template <class WordOf>
  static CELLAR_HD Words32 constant(WordOf word_of) {
    Words32 out;
    CELLAR_UNROLL_ALL for (int i = 0; i < WORDS; i++) out.w[i] = u32(word_of(i / 2) >> (32 * (i % 2)));
    return to_montgomery(out);
  }
  static CELLAR_HD Words32 to_montgomery(const Words32& x) {
    Words32 r2;
    CELLAR_UNROLL_ALL for (int i = 0; i < WORDS; i++) r2.w[i] = P::r2(i);
    return mul(x, r2);
  }
  static CELLAR_HD Words32 from_montgomery(const Words32& x) {
    Words32 plain_one{};
    plain_one.w[0] = 1;
    return mul(x, plain_one);
  }
  static CELLAR_HD Words32 canonical(const Words32& x) { return x; }

  static CELLAR_HD Words32 select(Mask m, const Words32& yes, const Words32& no) {
    Words32 out;
    CELLAR_UNROLL_ALL for (int i = 0; i < WORDS; i++) out.w[i] = m ? yes.w[i] : no.w[i];
    return out;
  }
  static CELLAR_HD bool any(Mask m) { return m; }
  static CELLAR_HD Mask without(Mask m, Mask excluded) { return m && !excluded; }
  static CELLAR_HD Mask is_zero(const Words32& x) {
    u32 bits = 0;
    CELLAR_UNROLL_ALL for (int i = 0; i < WORDS; i++) bits |= x.w[i];
    return bits == 0;
  }

  static CELLAR_HD Words32 add(const Words32& x, const Words32& y) {
    Words32 sum;
    sum.w[0] = ptx::add_cc(x.w[0], y.w[0]);
    CELLAR_UNROLL_ALL for (int i = 1; i < WORDS - 1; i++) sum.w[i] = ptx::addc_cc(x.w[i], y.w[i]);
    sum.w[WORDS - 1] = ptx::addc(x.w[WORDS - 1], y.w[WORDS - 1]);
    return less_modulus(sum);
  }
  static CELLAR_HD Words32 sub(const Words32& x, const Words32& y) {
    Words32 out;
    out.w[0] = ptx::sub_cc(x.w[0], y.w[0]);
    CELLAR_UNROLL_ALL for (int i = 1; i < WORDS; i++) out.w[i] = ptx::subc_cc(x.w[i], y.w[i]);
    const u32 borrowed = ptx::subc(0, 0);
    out.w[0] = ptx::add_cc(out.w[0], P::modulus(0) & borrowed);
    CELLAR_UNROLL_ALL for (int i = 1; i < WORDS - 1; i++)
      out.w[i] = ptx::addc_cc(out.w[i], P::modulus(i) & borrowed);
    out.w[WORDS - 1] = ptx::addc(out.w[WORDS - 1], P::modulus(WORDS - 1) & borrowed);
    return out;
  }
  static CELLAR_HD Words32 dbl(const Words32& x) { return add(x, x); }
  static CELLAR_HD Words32 neg(const Words32& x) { return sub(zero(), x); }
  static CELLAR_HD Words32 cneg(Mask m, const Words32& x) { return select(m, neg(x), x); }
  static CELLAR_HD Words32 sub_lazy(const Words32& x, const Words32& y) { return sub(x, y); }
  static CELLAR_HD Words32 signed_sub_lazy(Mask m, const Words32& y, const Words32& x) { return sub(cneg(m, y), x); }

  static CELLAR_HD Words32 mul(const Words32& x, const Words32& y) { return product(x, y); }
  static CELLAR_HD Words32 sqr(const Words32& x) { return product(x, x); }
  static CELLAR_HD Words32 mul_sub(const Words32& x, const Words32& y, const Words32& c) { return sub(mul(x, y), c); }
  static CELLAR_HD Words32 sqr_sub(const Words32& x, const Words32& c) { return sub(sqr(x), c); }
  static CELLAR_HD Words32 chord_x(const Words32& s, const Words32& c, const Words32& x1) {
    return sub(sub(sqr(s), c), dbl(x1));
  }

  // x^(m - 2), which is 0 for 0; for elements of the base field, whose modulus ends in a word above 1.
  CELLAR_CALL Words32 inverse(Words32 x) {
    static_assert(P::modulus(0) >= 2, "m - 2 would borrow");
    Words32 out = one();
    for (int bit = 32 * WORDS - 1; bit >= 0; bit--) {
      const u32 exponent = P::modulus(bit / 32) - (bit < 32 ? 2 : 0);
      out = sqr(out);
      if (exponent >> (bit % 32) & 1) out = mul(out, x);
    }
    return out;
  }

 private:
  CELLAR_CALL Words32 product(Words32 x, Words32 y) {
    u32 even[WORDS], odd[WORDS];
    CELLAR_UNROLL_ALL for (int i = 0; i < WORDS; i += 2) {
      if (i == 0) {
        CELLAR_UNROLL_ALL for (int j = 0; j < WORDS; j += 2) {
          ptx::mul_wide(even[j], even[j + 1], x.w[j], y.w[0]);
          ptx::mul_wide(odd[j], odd[j + 1], x.w[j + 1], y.w[0]);
        }
      } else {
        add_row(even, odd, x, y.w[i]);
      }
      reduce_row(even, odd);
      add_row(odd, even, x, y.w[i + 1]);
      reduce_row(odd, even);
    }
    // The last reduction cleared odd[0]; what is left of `odd` stands one word lower.
    even[0] = ptx::add_cc(even[0], odd[1]);
    CELLAR_UNROLL_ALL for (int j = 1; j < WORDS - 1; j++) even[j] = ptx::addc_cc(even[j], odd[j + 1]);
    Words32 out;
    even[WORDS - 1] = ptx::addc(even[WORDS - 1], 0);
    CELLAR_UNROLL_ALL for (int j = 0; j < WORDS; j++) out.w[j] = even[j];
    return less_modulus(out);
  }

  // (even, odd) += x b, where `odd` was the lower one: its word 0 is clear, word 1 joins `even`, the rest moves down.
  static CELLAR_HD void add_row(u32* even, u32* odd, const Words32& x, u32 b) {
    even[0] = ptx::add_cc(even[0], odd[1]);
    CELLAR_UNROLL_ALL for (int j = 0; j < WORDS - 2; j += 2)
      ptx::madc_wide_cc(odd[j], odd[j + 1], x.w[j + 1], b, odd[j + 2], odd[j + 3]);
    ptx::madc_wide(odd[WORDS - 2], odd[WORDS - 1], x.w[WORDS - 1], b, 0, 0);
    ptx::mad_wide_cc(even[0], even[1], x.w[0], b, even[0], even[1]);
    CELLAR_UNROLL_ALL for (int j = 2; j < WORDS; j += 2)
      ptx::madc_wide_cc(even[j], even[j + 1], x.w[j], b, even[j], even[j + 1]);
    odd[WORDS - 1] = ptx::addc(odd[WORDS - 1], 0);
  }

  // Adds the multiple of the modulus that clears word 0 of `even`.
  static CELLAR_HD void reduce_row(u32* even, u32* odd) {
    const u32 q = even[0] * P::NEG_INVERSE;
    ptx::mad_wide_cc(odd[0], odd[1], P::modulus(1), q, odd[0], odd[1]);
    CELLAR_UNROLL_ALL for (int j = 2; j < WORDS; j += 2)
      ptx::madc_wide_cc(odd[j], odd[j + 1], P::modulus(j + 1), q, odd[j], odd[j + 1]);
    ptx::mad_wide_cc(even[0], even[1], P::modulus(0), q, even[0], even[1]);
    CELLAR_UNROLL_ALL for (int j = 2; j < WORDS; j += 2)
      ptx::madc_wide_cc(even[j], even[j + 1], P::modulus(j), q, even[j], even[j + 1]);
    odd[WORDS - 1] = ptx::addc(odd[WORDS - 1], 0);
  }

  // x less the modulus, unless it is below it; x < 2 m.
  static CELLAR_HD Words32 less_modulus(const Words32& x) {
    Words32 less;
    less.w[0] = ptx::sub_cc(x.w[0], P::modulus(0));
    CELLAR_UNROLL_ALL for (int i = 1; i < WORDS; i++) less.w[i] = ptx::subc_cc(x.w[i], P::modulus(i));
    return select(ptx::subc(0, 0) != 0, x, less);
  }
};

}  // namespace cellar
