// One field element in plain 64-bit words: the field concept at its simplest, to test the other implementations by.
//
// Every value is canonical, in Montgomery form with R = 2^(64 WORDS); the lazy forms are not lazy. Products are
// schoolbook, one word of the multiplier at a time (CIOS). Slow and short on purpose.
#pragma once
#include "base.cuh"
#include "constants.cuh"

namespace cellar {

template <class P>
struct Words {
  static constexpr int WORDS = P::WORDS;
  using Mask = bool;
  using u128 = unsigned __int128;
  u64 w[WORDS];

  static Words zero() { return Words{}; }
  static Words one() { return from(P::one); }
  template <class WordOf>
  static Words from(WordOf word_of) {
    Words out;
    for (int i = 0; i < WORDS; i++) out.w[i] = word_of(i);
    return out;
  }
  template <class WordOf>
  static Words constant(WordOf word_of) { return to_montgomery(from(word_of)); }
  static Words to_montgomery(const Words& x) { return mul(x, from(P::r2)); }
  static Words from_montgomery(const Words& x) {
    Words plain_one{};
    plain_one.w[0] = 1;
    return mul(x, plain_one);
  }
  static Words canonical(const Words& x) { return x; }

  static Words select(Mask m, const Words& yes, const Words& no) { return m ? yes : no; }
  static bool any(Mask m) { return m; }
  static Mask without(Mask m, Mask excluded) { return m && !excluded; }
  static Mask is_zero(const Words& x) {
    u64 bits = 0;
    for (u64 word : x.w) bits |= word;
    return bits == 0;
  }

  static Words add(const Words& x, const Words& y) {
    u64 sum[WORDS + 1];
    u128 carry = 0;
    for (int i = 0; i < WORDS; i++) {
      carry += u128(x.w[i]) + y.w[i];
      sum[i] = u64(carry);
      carry >>= 64;
    }
    sum[WORDS] = u64(carry);
    return less_modulus(sum);
  }
  static Words sub(const Words& x, const Words& y) { return add(x, neg(y)); }
  static Words neg(const Words& x) {
    if (is_zero(x)) return x;
    Words out;
    u64 borrow = 0;
    for (int i = 0; i < WORDS; i++) {
      u128 t = u128(P::modulus(i)) - x.w[i] - borrow;
      out.w[i] = u64(t);
      borrow = u64(t >> 64) & 1;
    }
    return out;
  }
  static Words dbl(const Words& x) { return add(x, x); }
  static Words cneg(Mask m, const Words& x) { return m ? neg(x) : x; }
  static Words sub_lazy(const Words& x, const Words& y) { return sub(x, y); }
  static Words signed_sub_lazy(Mask m, const Words& y, const Words& x) { return sub(cneg(m, y), x); }

  static Words mul(const Words& x, const Words& y) {
    u64 t[WORDS + 2] = {};
    for (int i = 0; i < WORDS; i++) {
      add_product(t, y.w, x.w[i]);
      const u64 q = t[0] * P::NEG_INVERSE;
      u64 modulus[WORDS];
      for (int j = 0; j < WORDS; j++) modulus[j] = P::modulus(j);
      add_product(t, modulus, q);
      for (int j = 0; j <= WORDS; j++) t[j] = t[j + 1];
      t[WORDS + 1] = 0;
    }
    return less_modulus(t);
  }
  static Words sqr(const Words& x) { return mul(x, x); }
  static Words mul_sub(const Words& x, const Words& y, const Words& c) { return sub(mul(x, y), c); }
  static Words sqr_sub(const Words& x, const Words& c) { return sub(sqr(x), c); }
  static Words chord_x(const Words& s, const Words& c, const Words& x1) { return sub(sub(sqr(s), c), dbl(x1)); }

  // x^(m - 2), which is 0 for 0.
  static Words inverse(const Words& x) {
    Words out = one();
    for (int bit = 64 * WORDS - 1; bit >= 0; bit--) {
      u64 exponent = P::modulus(bit / 64) - (bit < 64 ? 2 : 0);  // the low word of m is above 1: no borrow
      out = sqr(out);
      if (exponent >> bit % 64 & 1) out = mul(out, x);
    }
    return out;
  }

 private:
  // t += a * b
  static void add_product(u64* t, const u64* a, u64 b) {
    u128 carry = 0;
    for (int j = 0; j < WORDS; j++) {
      carry += u128(a[j]) * b + t[j];
      t[j] = u64(carry);
      carry >>= 64;
    }
    carry += t[WORDS];
    t[WORDS] = u64(carry);
    t[WORDS + 1] += u64(carry >> 64);
  }
  // sum, below 2 m, less m if it is not below m.
  static Words less_modulus(const u64* sum) {
    Words less, same;
    u64 borrow = 0;
    for (int i = 0; i < WORDS; i++) {
      u128 t = u128(sum[i]) - P::modulus(i) - borrow;
      less.w[i] = u64(t);
      borrow = u64(t >> 64) & 1;
      same.w[i] = sum[i];
    }
    return sum[WORDS] < borrow ? same : less;
  }
};

}  // namespace cellar
