// The check e(P, Q) e(P', Q') = 1 for points Q, Q' of G2 that are known beforehand; gpu/pairing.py makes their lines.
//
// An element of Fp12 = Fp2[w] / (w^6 - (1 + u)) has its six coefficients in lanes; two lanes are idle. A product
// broadcasts the coefficients of one factor and multiplies the other with them, moved by as many lanes; only the sums
// are reduced. The 68 lines are evaluated beforehand, 8 at once, and those of the two points multiplied together.
//
// The final exponentiation is that to 3 (p^12 - 1) / r: 1 stays 1, and nothing else becomes it, as 3 does not divide r.
//
// Source: Hayashida, Hayasaka and Teruya, "Efficient final exponentiation via cyclotomic structure for pairings over
// families of elliptic curves", https://eprint.iacr.org/2020/875
#pragma once
#include <string.h>

#include "codec.cuh"
#include "memory.hpp"
#include "vectors.hpp"

namespace cellar {

class Pairing {
  static constexpr int STEPS = 68, STEP_VECTORS = (STEPS + LANES - 1) / LANES, COEFFICIENTS = 6;
  static constexpr int LINE = 4;  // numbers of a line

  Array<Fp> lines{2 * LINE * STEP_VECTORS};  // [point][number][vector of steps]
  Fp frobenius_x, frobenius_y, frobenius2;   // by lane

  struct Element {
    Fp x, y;  // lane j: x + y u is the coefficient of w^j
  };

 public:
  // line_bytes: [2 points][68][4][48] as gpu.host.pairing.line_bytes gives them; frobenius: [6][3][48] of frobenius_bytes.
  Pairing(const u8* line_bytes, const u8* frobenius) {
    for (int point = 0; point < 2; point++)
      for (int number = 0; number < LINE; number++)
        for (int v = 0; v < STEP_VECTORS; v++)
          lines[(point * LINE + number) * STEP_VECTORS + v] = load([&](int lane) {
            const int step = v * LANES + lane < STEPS ? v * LANES + lane : 0;
            return line_bytes + ((point * STEPS + step) * LINE + number) * BYTES_PER_POINT;
          });
    const auto number = [&](int k) {
      return load([&](int lane) { return frobenius + ((lane < COEFFICIENTS ? lane : 0) * 3 + k) * BYTES_PER_POINT; });
    };
    frobenius_x = number(0), frobenius_y = number(1), frobenius2 = number(2);
  }

  // e(left, Q) = e(right, Q')? Points of G1, the same in all lanes.
  bool equal(const Xyzz<Fp>& left, const Xyzz<Fp>& right) const {
    const bool left_infinite = is_infinity(left) != 0, right_infinite = is_infinity(right) != 0;
    if (left_infinite || right_infinite) return left_infinite && right_infinite;
    return exponentiated_is_one(miller_loop(left, cneg(0xff, right)));
  }

 private:
  template <class At>
  static Fp load(const At& at) {
    alignas(64) u64 rows[6][LANES];
    for (int lane = 0; lane < LANES; lane++)
      for (int w = 0; w < 6; w++) memcpy(&rows[5 - w][lane], at(lane) + 8 * w, 8);
    V words[6];
    for (int w = 0; w < 6; w++) words[w] = swap_bytes(_mm512_load_si512(rows[w]));
    return Fp::to_montgomery(Fp::from_word_vectors(words));
  }

  // A factor's coefficients: limb k of coefficient i is at [i * step + 8 k] of each.
  struct Factor {
    const u64 *x, *y, *minus_y;
    int step;
  };

  // sum += c b, c the same in all lanes.
  static CELLAR_HD void add_product(Fp::Sum& sum, const u64* c, const Fp& b) {
    CELLAR_UNROLL for (int i = 0; i < Fp::LIMBS; i++) {
      const V limb = _mm512_set1_epi64(i64(c[LANES * i]));
      CELLAR_UNROLL for (int j = 0; j < Fp::LIMBS; j++) {
        sum.a[i + j] = _mm512_madd52lo_epu64(sum.a[i + j], limb, b.v[j]);
        sum.a[i + j + 1] = _mm512_madd52hi_epu64(sum.a[i + j + 1], limb, b.v[j]);
      }
    }
  }

  // Lane k is coefficient k - i of b, or of (1 + u) b where that wraps around.
  static CELLAR_HD Fp moved(const Fp& b, const Fp& xi_b, int i) {
    const V lane = _mm512_sub_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(i));
    const Fp::Mask wrapped = _mm512_movepi64_mask(lane);
    return Fp::select(wrapped, Fp::permute(xi_b, _mm512_add_epi64(lane, _mm512_set1_epi64(COEFFICIENTS))),
                      Fp::permute(b, lane));
  }

  static __attribute__((noinline)) Element multiply(const Factor& a, const Element& b) {
    const Element xi_b{Fp::sub(b.x, b.y), Fp::add(b.x, b.y)};
    Fp x[COEFFICIENTS], y[COEFFICIENTS];
    for (int i = 0; i < COEFFICIENTS; i++) x[i] = moved(b.x, xi_b.x, i), y[i] = moved(b.y, xi_b.y, i);
    Fp::Sum sum;
    sum.clear();
    for (int i = 0; i < COEFFICIENTS; i++) {
      add_product(sum, a.x + i * a.step, x[i]);
      add_product(sum, a.minus_y + i * a.step, y[i]);
    }
    Element out;
    out.x = Fp::reduce_sum(sum);
    sum.clear();
    for (int i = 0; i < COEFFICIENTS; i++) {
      add_product(sum, a.x + i * a.step, y[i]);
      add_product(sum, a.y + i * a.step, x[i]);
    }
    out.y = Fp::reduce_sum(sum);
    return out;
  }
  static Element multiply(const Element& a, const Element& b) {
    const Fp minus_y = Fp::neg(a.y);
    return multiply(Factor{words(a.x), words(a.y), words(minus_y), 1}, b);
  }
  static const u64* words(const Fp& a) { return reinterpret_cast<const u64*>(a.v); }

  static Element one() { return {Fp::select(1, Fp::one(), Fp::zero()), Fp::zero()}; }

  Element miller_loop(const Xyzz<Fp>& p, const Xyzz<Fp>& q) const {
    Array<Fp> x(COEFFICIENTS * STEP_VECTORS), y(COEFFICIENTS * STEP_VECTORS), minus_y(COEFFICIENTS * STEP_VECTORS);
    evaluate_lines(p, q, x.get(), y.get());
    for (int i = 0; i < COEFFICIENTS * STEP_VECTORS; i++) minus_y[i] = Fp::neg(y[i]);
    Element f = one();
    int step = 0;
    const auto take_line = [&] {
      const size_t at = size_t(step / LANES) * COEFFICIENTS;
      const auto coefficients = [&](const Array<Fp>& a) { return words(a[at]) + step % LANES; };
      f = multiply(Factor{coefficients(x), coefficients(y), coefficients(minus_y), int(sizeof(Fp) / sizeof(u64))}, f);
      step++;
    };
    for (int i = 62; i >= 0; i--) {  // the top bit of x is bit 63
      if (step > 0) f = multiply(f, f);
      take_line();
      if (Curve::ABS_X >> i & 1) take_line();
    }
    return f;
  }

  // x + y u, [vector of steps][coefficient]: the products of both lines, (a0 + a2 w^2 + w^3)(b0 + b2 w^2 + w^3).
  void evaluate_lines(const Xyzz<Fp>& p, const Xyzz<Fp>& q, Fp* x, Fp* y) const {
    struct Fp2 {
      Fp x, y;
    };
    const auto add = [](const Fp2& a, const Fp2& b) { return Fp2{Fp::add(a.x, b.x), Fp::add(a.y, b.y)}; };
    const auto mul = [](const Fp2& a, const Fp2& b) {
      return Fp2{Fp::mul_sub(a.x, b.x, Fp::mul(a.y, b.y)), Fp::add(Fp::mul(a.x, b.y), Fp::mul(a.y, b.x))};
    };
    const Xyzz<Fp> both = select(1, p, q);  // one inversion for both: lane 0, and the others
    const Fp inverse = Fp::inverse(Fp::mul(both.zz, both.y));
    const Fp ratio = Fp::mul(Fp::mul(both.x, both.zzz), inverse);       // x / y of the affine point
    const Fp reciprocal = Fp::mul(Fp::mul(both.zz, both.zzz), inverse);  // 1 / y
    for (int v = 0; v < STEP_VECTORS; v++) {
      Fp2 a[2], b[2];
      for (int point = 0; point < 2; point++) {
        const V lane = _mm512_set1_epi64(point);
        const Fp r = Fp::permute(ratio, lane), s = Fp::permute(reciprocal, lane);
        const Fp* line = &lines[point * LINE * STEP_VECTORS + v];
        b[point] = {Fp::mul(line[0], r), Fp::mul(line[STEP_VECTORS], r)};
        a[point] = {Fp::mul(line[2 * STEP_VECTORS], s), Fp::mul(line[3 * STEP_VECTORS], s)};
      }
      const Fp2 xi{Fp::one(), Fp::one()}, none{Fp::zero(), Fp::zero()};
      const Fp2 product[COEFFICIENTS] = {add(mul(a[0], a[1]), xi), none, add(mul(a[0], b[1]), mul(b[0], a[1])),
                                         add(a[0], a[1]),          mul(b[0], b[1]), add(b[0], b[1])};
      for (int i = 0; i < COEFFICIENTS; i++)
        x[v * COEFFICIENTS + i] = product[i].x, y[v * COEFFICIENTS + i] = product[i].y;
    }
  }

  // a^(p^6), which is 1/a where a^(p^6 + 1) = 1.
  static Element conjugate(const Element& a) { return {Fp::cneg(0xaa, a.x), Fp::cneg(0xaa, a.y)}; }
  Element to_p(const Element& a) const {
    return {Fp::add(Fp::mul(a.x, frobenius_x), Fp::mul(a.y, frobenius_y)),
            Fp::mul_sub(a.x, frobenius_y, Fp::mul(a.y, frobenius_x))};
  }
  Element to_p2(const Element& a) const { return {Fp::mul(a.x, frobenius2), Fp::mul(a.y, frobenius2)}; }

  // a^x for the parameter x, which is negative, where a^(p^6 + 1) = 1.
  static Element to_x(const Element& a) {
    Element out = a;
    for (int i = 62; i >= 0; i--) {
      out = multiply(out, out);
      if (Curve::ABS_X >> i & 1) out = multiply(out, a);
    }
    return conjugate(out);
  }

  // 1/n for n in Fp6 (even coefficients only), by its norm to Fp2 and that one's to Fp.
  Element inverse_in_fp6(const Element& n) const {
    const Element n2 = to_p2(n), others = multiply(n2, to_p2(n2)), norm = multiply(n, others);
    const Fp inverse = Fp::inverse(Fp::add(Fp::sqr(norm.x), Fp::sqr(norm.y)));  // lane 0; the others are 0
    return multiply(Element{Fp::mul(norm.x, inverse), Fp::neg(Fp::mul(norm.y, inverse))}, others);
  }

  bool exponentiated_is_one(const Element& f) const {
    // (p^6 - 1)(p^2 + 1)
    const Element c = conjugate(f);
    Element m = multiply(multiply(c, c), inverse_in_fp6(multiply(f, c)));
    m = multiply(to_p2(m), m);
    // (x - 1)^2 (x + p)(x^2 + p^2 - 1) + 3
    Element a = multiply(to_x(m), conjugate(m));
    a = multiply(to_x(a), conjugate(a));
    a = multiply(to_x(a), to_p(a));
    a = multiply(to_x(to_x(a)), multiply(to_p2(a), conjugate(a)));
    a = multiply(a, multiply(multiply(m, m), m));
    const Element unit = one();
    return ((Fp::is_zero(Fp::sub(a.x, unit.x)) & Fp::is_zero(a.y)) | 0xc0) == 0xff;
  }
};

}  // namespace cellar
