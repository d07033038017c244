// The constant convolution that ends FK20, on points in lanes; gpu/convolution.py derives it.
//
// 128 inputs u, even ones first: vectors 0..7 are u[0], u[2], ..., vectors 8..15 the odd ones. Each parity is split
// into four parts (negacyclic 32, 16, 8; cyclic 8), 8 vectors in all; the odd multiples P, 3P, .., 255P of their
// points are tabled; then each tap adds, for each digit of its constant, one multiple to each output of the part,
// at a shifted place. Digits are the same for all outputs, so lanes stay in step: a shifted vector is a
// permutation of two neighbours.
//
// The digits' sums are separate accumulators (part vector, half of the constant, digit): adding is batched, and the
// powers of two come at the end, with the endomorphism applied once to the sums of the second halves.
//
// The additions are incomplete and the inputs depend on the caller's data: blinding makes collisions
// impossible to bring about (see fk20.hpp). `run` answers false if one happens all the same.
#pragma once
#include "multiples.hpp"
#include "tasks.hpp"
#include "vectors.hpp"

namespace cellar {

constexpr int PROOF_VECTORS = CELLS / LANES;

class Convolution {
 public:
  static constexpr int PARITIES = 2, TAPS = 64, HALVES = 2, DIGITS = 16, DIGIT_BITS = 8;
  static constexpr int MULTIPLES = 1 << (DIGIT_BITS - 1);
  static constexpr int SUMS = HALVES * DIGITS;

  // Vectors of one thread: 4.6 MiB.
  struct Memory {
    Array<Affine<Fp>> multiple{size_t(MULTIPLES) * PROOF_VECTORS};
    Array<Affine<Fp>> sum{size_t(SUMS) * PROOF_VECTORS};
    Array<Affine<Fp>> part{PROOF_VECTORS}, other{PROOF_VECTORS};
    Array<Xyzz<Fp>> walk{PROOF_VECTORS};
    Array<Fp> scratch{PROOF_VECTORS};
    PowerMemory powers{PROOF_VECTORS, DIGIT_BITS - 1};
    BatchMemory batch;
  };

  // digits: [2 kernels][64 taps][2 halves][16], as gpu.convolution.convolution_digits gives them.
  explicit Convolution(const i16* digits) : digit(size_t(PARITIES) * TAPS * SUMS) {
    for (size_t i = 0; i < digit.size(); i++) digit[i] = digits[i];
  }

  // out[a] = u[a] + sum of k[e] u[a - e]. False if points collided; `out` then means nothing. The longest stage is
  // shared out among `threads`; batch_of(slot) is room for a batch of each.
  template <class BatchOf>
  bool run(Affine<Fp>* out, const Affine<Fp>* u, Memory& m, int threads, const BatchOf& batch_of) const {
    // Each stage stops at a collision.
    if (!split_inputs(u, m) || !odd_multiples(m.multiple.get(), m.part.get(), PROOF_VECTORS, DIGIT_BITS - 1, m.powers) || !add_taps(m, threads, batch_of) || !join_halves(m)) return false;
    sum_digits(m);
    if (!join_parts(out, m)) return false;
    PointSource<Fp> plain{u, 0};
    return accumulate(out, PROOF_VECTORS, plain, m.batch.get());
  }

  // The same for any points, infinity and equal ones too, with complete additions and no tables: each constant
  // bit by bit, a sign for each. Slow (some 50 ms); for inputs that `run` refused.
  void run_complete(Xyzz<Fp>* out, const Xyzz<Fp>* u) const {
    Xyzz<Fp> a[PROOF_VECTORS], sums[PROOF_VECTORS];
    for (int v = 0; v < PROOF_VECTORS; v++) a[v] = u[v];
    for (int n = 4; n >= 1; n /= 2) {
      for (int v = 0; v < PROOF_VECTORS; v++) {
        if (v % HALF < HALF - 2 * n || v % HALF >= HALF - n) continue;
        Xyzz<Fp> low = a[v], high = a[v + n];
        a[v] = add(low, cneg(0xff, high));
        a[v + n] = add(low, high);
      }
    }
    for (int parity = 0; parity < PARITIES; parity++)
      for (const Part& part : PARTS)
        for (int v = 0; v < part.vectors; v++)
          sums[parity * HALF + part.first + v] = output_complete(a + parity * HALF + part.first, part, parity, v);
    for (int n = 1; n <= 4; n *= 2) {
      for (int v = 0; v < PROOF_VECTORS; v++) {
        if (v % HALF < HALF - 2 * n || v % HALF >= HALF - n) continue;
        Xyzz<Fp> minus = sums[v], plus = sums[v + n];
        sums[v] = add(plus, minus);
        sums[v + n] = add(plus, cneg(0xff, minus));
      }
    }
    for (int v = 0; v < PROOF_VECTORS; v++) out[v] = add(sums[(v + HALF) % PROOF_VECTORS], u[v]);
  }

 private:
  Array<i16> digit;

  // A part of a parity: its vectors, where they begin among the parity's 8, and where its taps begin.
  struct Part {
    int vectors, first;
    bool cyclic;
    int taps() const { return vectors * LANES; }
    int first_tap() const { return first * LANES; }
  };
  static constexpr Part PARTS[4] = {{4, 0, false}, {2, 4, false}, {1, 6, false}, {1, 7, true}};
  static constexpr int HALF = PROOF_VECTORS / 2;

  // The 8 vectors of a parity to the inputs of its parts: low - high is negacyclic, low + high goes on.
  static bool split_inputs(const Affine<Fp>* u, Memory& m) {
    for (int v = 0; v < PROOF_VECTORS; v++) m.part[v] = u[v];
    for (int n = 4; n >= 1; n /= 2) {
      for (int parity = 0; parity < PARITIES; parity++) {
        Affine<Fp>* a = &m.part[parity * HALF + (HALF - 2 * n)];  // what is left: 2n vectors at the end
        for (int i = 0; i < n; i++) m.other[i] = a[n + i];
        for (int i = 0; i < n; i++) a[n + i] = a[i];
        PointSource<Fp> minus{&m.other[0], 0xff}, plus{&m.other[0], 0};
        if (!accumulate(a, n, minus, m.batch.get()) || !accumulate(a + n, n, plus, m.batch.get())) return false;
      }
    }
    return true;
  }

  const i16* digits_of(int parity, const Part& part, int tap) const {
    return &digit[(size_t(parity) * TAPS + part.first_tap() + tap) * SUMS];
  }

  // One output vector of a part, whose inputs are `in`.
  Xyzz<Fp> output_complete(const Xyzz<Fp>* in, const Part& part, int parity, int v) const {
    Xyzz<Fp> shifted[32], image[32];  // by tap; image = phi(shifted)
    const Fp beta = Fp::constant(Curve::beta);
    for (int tap = 0; tap < part.taps(); tap++) {
      const Shift shift(part, tap, v);
      shifted[tap] = {shift(in[shift.low].x, in[shift.high].x), shift(in[shift.low].y, in[shift.high].y),
                      shift(in[shift.low].zz, in[shift.high].zz), shift(in[shift.low].zzz, in[shift.high].zzz)};
      shifted[tap] = cneg(shift.wrapped, shifted[tap]);
      image[tap] = shifted[tap];
      image[tap].x = Fp::mul(image[tap].x, beta);
    }
    Xyzz<Fp> total = infinity<Fp>();
    for (int bit = DIGITS * DIGIT_BITS - 1; bit >= 0; bit--) {
      total = dbl(total);
      for (int tap = 0; tap < part.taps(); tap++) {
        for (int half = 0; half < HALVES; half++) {
          const int d = digits_of(parity, part, tap)[half * DIGITS + bit / DIGIT_BITS];
          const bool plus = (d + (1 << DIGIT_BITS) - 1) / 2 >> bit % DIGIT_BITS & 1;
          total = add(total, cneg(plus ? 0 : 0xff, half ? image[tap] : shifted[tap]));
        }
      }
    }
    return total;
  }

  // Where the sums of a part are: [half][digit][parity][vector], so that the two halves are two runs.
  static int first_sum(const Part& part) { return SUMS * PARITIES * part.first; }

  // A task has a part's sums, or a share of them: smaller batches cost more inversions, so no more than it takes.
  template <class BatchOf>
  bool add_taps(Memory& m, int threads, const BatchOf& batch_of) const {
    const int shares = threads < 2 ? 1 : threads < 4 ? 2 : 4, share = SUMS / shares;
    return run_tasks(threads, 4 * shares, [&](int task, int slot) {
      return add_taps_to(m, PARTS[task / shares], task % shares * share, share, batch_of(slot));
    });
  }

  // To `count` of the part's sums, from `first` on.
  bool add_taps_to(Memory& m, const Part& part, int first, int count, const Batch<Fp>& batch) const {
    const int vectors = PARITIES * part.vectors, n = count * vectors;
    Affine<Fp>* sums = &m.sum[first_sum(part) + first * vectors];
    ShiftedSource source(*this, m, part, first, count);
    for (int i = 0; i < n; i++) {
      Fp::Mask negate;
      Fp y;
      sums[i].x = source.x(i);
      source.y(i, y, negate);
      sums[i].y = Fp::cneg(negate, y);
    }
    for (int tap = 1; tap < part.taps(); tap++) {
      source.set_tap(tap);
      if (!accumulate(sums, n, source, batch)) return false;
    }
    return true;
  }

  // Inputs moved by `tap` places: lane l of output vector v is input 8 v + l - tap, from two neighbours; a
  // negacyclic part negates what wraps around.
  struct Shift {
    int low, high;
    Fp::Mask wrapped;
    V places;

    Shift(const Part& part, int tap, int v) {
      const int rest = tap % LANES;
      high = v - tap / LANES, low = high - 1;
      wrapped = 0;
      if (!part.cyclic && high < 0) wrapped |= Fp::Mask(0xff << rest);
      if (!part.cyclic && low < 0) wrapped |= Fp::Mask(~(0xff << rest));
      if (high < 0) high += part.vectors;
      if (low < 0) low += part.vectors;
      places = _mm512_add_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(LANES - rest));
    }
    CELLAR_HD Fp operator()(const Fp& from_low, const Fp& from_high) const { return moved(from_low, from_high, places); }
    static CELLAR_HD Fp moved(const Fp& from_low, const Fp& from_high, V places) {
      Fp out;
      CELLAR_UNROLL for (int k = 0; k < Fp::LIMBS; k++)
        out.v[k] = _mm512_permutex2var_epi64(from_low.v[k], places, from_high.v[k]);
      return out;
    }
  };

  // The source of accumulate: for some sums of a part and each output vector, a multiple of the inputs, moved.
  class ShiftedSource {
    const Convolution& constants;
    const Memory& m;
    const Part& part;
    const int first, count;
    V places;
    struct Step {
      const Affine<Fp>*low, *high;
      Fp::Mask negate;
    } steps[SUMS * PARITIES * 4];

   public:
    ShiftedSource(const Convolution& c, const Memory& memory, const Part& p, int first_sum, int sums)
        : constants(c), m(memory), part(p), first(first_sum), count(sums) {
      set_tap(0);
    }

    void set_tap(int tap) {
      int i = 0;
      for (int sum = first; sum < first + count; sum++) {
        for (int parity = 0; parity < PARITIES; parity++) {
          const int d = constants.digits_of(parity, part, tap)[sum];
          const Affine<Fp>* row = &m.multiple[size_t((d < 0 ? -d : d) / 2) * PROOF_VECTORS + parity * HALF + part.first];
          for (int v = 0; v < part.vectors; v++, i++) {
            const Shift shift(part, tap, v);
            steps[i] = {row + shift.low, row + shift.high, Fp::Mask(shift.wrapped ^ (d < 0 ? 0xff : 0))};
            places = shift.places;
          }
        }
      }
    }
    CELLAR_HD Fp x(int i) const { return Shift::moved(steps[i].low->x, steps[i].high->x, places); }
    CELLAR_HD void y(int i, Fp& y, Fp::Mask& negate) const {
      y = Shift::moved(steps[i].low->y, steps[i].high->y, places);
      negate = steps[i].negate;
    }
    CELLAR_HD void prefetch(int) const {}
  };

  // The sums of the first halves get phi of those of the second halves: [lambda](x, y) = (beta x, y).
  static bool join_halves(Memory& m) {
    const Fp beta = Fp::constant(Curve::beta);
    for (const Part& part : PARTS) {
      const int n = DIGITS * PARITIES * part.vectors;
      Affine<Fp>*first = &m.sum[first_sum(part)], *second = first + n;
      for (int i = 0; i < n; i++) second[i].x = Fp::mul(second[i].x, beta);
      PointSource<Fp> source{second, 0};
      if (!accumulate(first, n, source, m.batch.get())) return false;
    }
    return true;
  }

  // Horner's rule over the digits: m.part[vector] = sum of 2^(8 d) sums[d].
  static void sum_digits(Memory& m) {
    for (const Part& part : PARTS) {
      const int n = PARITIES * part.vectors;
      for (int i = 0; i < n; i++) {
        const Affine<Fp>* sums = &m.sum[first_sum(part) + i];
        Xyzz<Fp> total = from_affine(sums[(DIGITS - 1) * n]);
        for (int d = DIGITS - 2; d >= 0; d--) {
          for (int k = 0; k < DIGIT_BITS; k++) total = dbl(total);
          total = madd(total, sums[d * n]);
        }
        m.walk[i / part.vectors * HALF + part.first + i % part.vectors] = total;
      }
    }
    to_affine(m.part.get(), m.walk.get(), PROOF_VECTORS, m.scratch.get(), static_cast<Fp::Mask*>(nullptr));
  }

  // The reverse of split_inputs: low = plus + minus, high = plus - minus. Outputs have the other parity.
  static bool join_parts(Affine<Fp>* out, Memory& m) {
    for (int n = 1; n <= 4; n *= 2) {
      for (int parity = 0; parity < PARITIES; parity++) {
        Affine<Fp>* a = &m.part[parity * HALF + (HALF - 2 * n)];
        for (int i = 0; i < n; i++) m.other[i] = a[i], a[i] = a[n + i];
        PointSource<Fp> minus{&m.other[0], 0xff}, plus{&m.other[0], 0};
        if (!accumulate(a, n, plus, m.batch.get()) || !accumulate(a + n, n, minus, m.batch.get())) return false;
      }
    }
    for (int v = 0; v < PROOF_VECTORS; v++) out[v] = m.part[(v + HALF) % PROOF_VECTORS];
    return true;
  }
};

}  // namespace cellar
