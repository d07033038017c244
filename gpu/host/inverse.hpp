// Modular inversion of one field element held in 64-bit words (host only).
//
// The 'safegcd' of Bernstein and Yang with steps in batches of 62 (variable time: all our data is public).
// f, g start as m, a and shrink under 2x2 transitions; d, e follow modulo m, so that d a = f and e a = g
// hold throughout (up to the power of two that update_de divides out). At g = 0, f = +-1 and d = +-1/a.
//
// Source: https://gcd.cr.yp.to/safegcd-20190413.pdf and libsecp256k1, doc/safegcd_implementation.md
#pragma once
#include "base.cuh"

namespace cellar {

template <class P>
class Inverter {
  static constexpr int N = (64 * P::WORDS + 61) / 62;  // signed limbs of 62 bits, room for the sign
  static constexpr u64 M62 = ~0ull >> 2;
  using i128 = __int128;
  struct Signed62 { i64 v[N]; };
  struct Transition { i64 u, v, q, r; };

  static Signed62 from_words(const u64* w) {
    Signed62 out{};
    for (int i = 0; i < N; i++) {
      int bit = 62 * i, word = bit / 64, shift = bit % 64;
      u64 low = word < P::WORDS ? w[word] >> shift : 0;
      u64 high = shift > 2 && word + 1 < P::WORDS ? w[word + 1] << (64 - shift) : 0;
      out.v[i] = i64((low | high) & M62);
    }
    return out;
  }

  static u64 modulus_inverse() {  // m^-1 mod 2^62, by Newton's iteration
    u64 m = P::MODULUS_WORDS[0], x = m;
    for (int i = 0; i < 6; i++) x *= 2 - m * x;
    return x & M62;
  }

  // 62 division steps on the low words; the matrix that they amount to, times 2^62.
  static i64 divsteps(i64 eta, u64 f, u64 g, Transition& t) {
    u64 u = 1, v = 0, q = 0, r = 1;
    for (int i = 62;;) {
      int zeros = __builtin_ctzll(g | (~0ull << i));
      g >>= zeros, u <<= zeros, v <<= zeros, eta -= zeros, i -= zeros;
      if (i == 0) break;
      bool swap = eta < 0;
      if (swap) {
        u64 old = f;
        eta = -eta;
        f = g, g = -old;
        old = u, u = q, q = -old;
        old = v, v = r, r = -old;
      }
      int limit = int(eta) + 1 > i ? i : int(eta) + 1;  // that many bits of g may be cancelled at once
      u64 mask = ~0ull >> (64 - limit), w;
      if (swap) {
        w = f * g * (f * f - 2) & mask & 63;  // -g/f mod 2^6
      } else {
        w = f + (((f + 1) & 4) << 1);  // 1/f mod 2^4
        w = -w * g & mask & 15;
      }
      g += f * w, q += u * w, r += v * w;
    }
    t = {i64(u), i64(v), i64(q), i64(r)};
    return eta;
  }

  static void update_de(Signed62& d, Signed62& e, const Transition& t, const Signed62& m, u64 m_inverse) {
    i64 sd = d.v[N - 1] >> 63, se = e.v[N - 1] >> 63;
    i64 md = (t.u & sd) + (t.v & se), me = (t.q & sd) + (t.r & se);
    i128 cd = i128(t.u) * d.v[0] + i128(t.v) * e.v[0];
    i128 ce = i128(t.q) * d.v[0] + i128(t.r) * e.v[0];
    md -= i64((m_inverse * u64(cd) + u64(md)) & M62);
    me -= i64((m_inverse * u64(ce) + u64(me)) & M62);
    cd = (cd + i128(m.v[0]) * md) >> 62;
    ce = (ce + i128(m.v[0]) * me) >> 62;
    for (int i = 1; i < N; i++) {
      i64 di = d.v[i], ei = e.v[i];
      cd += i128(t.u) * di + i128(t.v) * ei + i128(m.v[i]) * md;
      ce += i128(t.q) * di + i128(t.r) * ei + i128(m.v[i]) * me;
      d.v[i - 1] = i64(u64(cd) & M62), cd >>= 62;
      e.v[i - 1] = i64(u64(ce) & M62), ce >>= 62;
    }
    d.v[N - 1] = i64(cd);
    e.v[N - 1] = i64(ce);
  }

  static void update_fg(Signed62& f, Signed62& g, const Transition& t) {
    i128 cf = i128(t.u) * f.v[0] + i128(t.v) * g.v[0], cg = i128(t.q) * f.v[0] + i128(t.r) * g.v[0];
    cf >>= 62, cg >>= 62;
    for (int i = 1; i < N; i++) {
      i64 fi = f.v[i], gi = g.v[i];
      cf += i128(t.u) * fi + i128(t.v) * gi;
      cg += i128(t.q) * fi + i128(t.r) * gi;
      f.v[i - 1] = i64(u64(cf) & M62), cf >>= 62;
      g.v[i - 1] = i64(u64(cg) & M62), cg >>= 62;
    }
    f.v[N - 1] = i64(cf);
    g.v[N - 1] = i64(cg);
  }

  static void add_and_carry(Signed62& a, const Signed62& m, i64 factor, i64 sign) {
    i64 carry = 0;
    for (int i = 0; i < N; i++) {
      i64 limb = sign * (a.v[i] + factor * m.v[i]) + carry;
      a.v[i] = i < N - 1 ? limb & i64(M62) : limb;
      carry = limb >> 62;
    }
  }

 public:
  // out = 1/a mod m for canonical a; 0 for a = 0. Plain integers, no Montgomery factor.
  static void invert(const u64* a, u64* out) {
    static const u64 m_inverse = modulus_inverse();
    const Signed62 m = from_words(P::MODULUS_WORDS);
    Signed62 d{}, e{}, f = m, g = from_words(a);
    e.v[0] = 1;
    Transition t;
    for (i64 eta = -1;;) {
      eta = divsteps(eta, u64(f.v[0]) | u64(f.v[1]) << 62, u64(g.v[0]) | u64(g.v[1]) << 62, t);
      update_de(d, e, t, m, m_inverse);
      update_fg(f, g, t);
      i64 rest = 0;
      for (int i = 0; i < N; i++) rest |= g.v[i];
      if (rest == 0) break;
    }
    // d in (-2m, m): add m if negative, negate if f = -1, add m again if that made it negative.
    i64 sign = f.v[N - 1] < 0 ? -1 : 1;
    add_and_carry(d, m, d.v[N - 1] < 0, sign);
    add_and_carry(d, m, d.v[N - 1] < 0, 1);
    for (int i = 0; i < P::WORDS; i++) out[i] = 0;
    for (int i = 0; i < N; i++) {
      int bit = 62 * i, word = bit / 64, shift = bit % 64;
      if (word < P::WORDS) out[word] |= u64(d.v[i]) << shift;
      if (shift > 2 && word + 1 < P::WORDS) out[word + 1] |= u64(d.v[i]) >> (64 - shift);
    }
  }
};

}  // namespace cellar
