// Verification of many cells as one equation.
//
// With random r_k, all cells k (of column i, z = z_i, of row c) are right, except with a chance of 2^-127, if and only
// if
//
//   e(sum r_k proof_k, [s^64]) = e(sum w_c C_c + sum r_k z proof_k - [sum r_k I_k(s)], [1])
//
// where w_c is the sum of the r_k of commitment c's cells, and I_k interpolates cell k. This file computes the two
// points, pairing.hpp compares. The r_k are odd numbers below 2^128, drawn by the caller for each call.
//
// Membership in G1. A few points are tested one by one, exactly, by the endomorphism. Of many, 48 sums with random
// signs (+, -, or left out) are tested instead: a point outside of G1 has an order of 3 or more there, so at most one
// of the three choices hides it in a sum, whatever the others are; all 48 sums miss it with a chance below
// (86/256)^48 < 2^-75. If a sum is outside, the points are tested one by one to name the first.
//
// Sums of points. Lanes are points: the odd multiples P .. 31 P of 8 points are tabled, and for each digit of 5 bits of
// each scalar one of them is added to the accumulator of that digit's place: 26 for r_k, 52 for r_k z (as for w_c). All
// accumulators begin at a random point that never leaves the engine, so no input makes an incomplete addition fail,
// repeated proofs and proofs of the caller's making included; what that adds to the result is known and taken off.
//
// Cells. Those of one column are added up before the sum is interpolated, and [I(s)] comes from a fixed-base table.
//
// Source: consensus-specs fulu, verify_cell_kzg_proof_batch_impl (which derives the r_k by Fiat-Shamir).
#pragma once
#include <memory>
#include <mutex>
#include <optional>

#include "comb.hpp"
#include "jacobian.hpp"
#include "pairing.hpp"
#include "points.hpp"
#include "rows.hpp"
#include "tasks.hpp"

namespace cellar {

constexpr CombShape interpolation_shape() { return {LANES, CELL_ELEMENTS / LANES, 64, 8, HALF_BITS}; }

struct CellBatch {
  const u8* commitments;  // [commitment_count][48]
  const u8* weights;      // [commitment_count][32], big-endian
  int commitment_count;
  const int* columns;  // [count]
  const u8* cells;     // [count][2048]
  const u8* proofs;    // [count][48]
  const u64* factors;  // [count][2]: r_k
  const u8* noise;     // random bytes, 48 for each point and each place up to a multiple of 8 in both lists
  int count;
};

enum class Verdict { done, bad_commitment, bad_proof, bad_cell, collision };

class Verifier {
  static constexpr int DIGIT_BITS = 5, LEVELS = DIGIT_BITS - 1, MULTIPLES = 1 << LEVELS;
  static constexpr int SHORT_DIGITS = 26, LONG_DIGITS = 52, SUMS = SHORT_DIGITS + LONG_DIGITS;
  static constexpr size_t PACKED_VECTOR_BYTES = size_t(LANES) * MULTIPLES * PACKED_POINT_BYTES;
  static constexpr int CHUNK = 16;  // vectors of points whose multiples are tabled together
  static constexpr int TESTS = 48, FEW_VECTORS = 10;  // sums of the membership test; from when on it pays

  const Domain& domain;
  std::optional<Pairing> pairing;
  CombTable table{interpolation_shape()};
  Affine<Fp> start;
  Xyzz<Fp> short_excess, long_excess, fold_excess;
  struct State;
  mutable std::mutex lock;
  mutable std::vector<std::unique_ptr<State>> idle;

 public:
  explicit Verifier(const Domain& d) : domain(d) {}
  size_t bytes() const { return table.bytes(); }

  // monomial: [s^i], 8 to a vector; random: a point for each lane; lines of [s^64] and [1] and frobenius as Pairing
  // takes them. False if points collide.
  bool build(const Affine<Fp>* monomial, const Affine<Fp>& random, const u8* lines, const u8* frobenius) {
    pairing.emplace(lines, frobenius);
    start = random;
    Affine<Fp> sums[LONG_DIGITS];
    for (Affine<Fp>& sum : sums) sum = start;
    if (!sum_digits(sums, sums, short_excess, long_excess)) return false;
    short_excess = cneg(0xff, short_excess), long_excess = cneg(0xff, long_excess);
    fold_excess = add(short_excess, cneg(0xff, from_affine(start)));
    return table.build(0, monomial);
  }

  // `valid` if the equation holds. `position` is that of a bad input.
  Verdict run(const CellBatch& batch, int threads, bool& valid, int& position) const {
    const int proof_vectors = (batch.count + LANES - 1) / LANES;
    const int commitment_vectors = (batch.commitment_count + LANES - 1) / LANES;
    Points commitments(commitment_vectors), proofs(proof_vectors);
    position = read(batch.commitments, batch.commitment_count, commitments, threads);
    if (position < batch.commitment_count) return Verdict::bad_commitment;
    position = read(batch.proofs, batch.count, proofs, threads);
    if (position < batch.count) return Verdict::bad_proof;

    const Lease lease(*this, threads);
    const States& states = lease.states;
    const bool few = proof_vectors + commitment_vectors < FEW_VECTORS;
    if (few || !random_sums_are_members(batch.noise, commitments, proofs, threads, states)) {
      const Outsiders outsiders = find_outsiders(commitments, proofs, threads);
      position = outsiders.first;
      if (position < batch.commitment_count) return Verdict::bad_commitment;
      position = outsiders.second;
      if (position < batch.count) return Verdict::bad_proof;
    }
    const auto chunks = [](int vectors) { return (vectors + CHUNK - 1) / CHUNK; };
    const int proof_chunks = chunks(proof_vectors), commitment_chunks = chunks(commitment_vectors);
    bool ok = run_tasks(threads, proof_chunks + commitment_chunks, [&](int task, int slot) {
      return task < proof_chunks ? add_chunk<true>(batch, proofs, task * CHUNK, *states[slot])
                                 : add_chunk<false>(batch, commitments, (task - proof_chunks) * CHUNK, *states[slot]);
    });
    if (!ok) return Verdict::collision;

    std::vector<int> by_column[CELLS];
    for (int k = 0; k < batch.count; k++) by_column[batch.columns[k]].push_back(k);
    ok = run_tasks(threads, CELLS, [&](int column, int slot) {
      return add_column(batch, column, by_column[column], states[slot]->interpolants);
    });
    if (!ok) return Verdict::bad_cell;

    Remainder interpolant{};
    Xyzz<Fp> left = infinity<Fp>(), right = infinity<Fp>();
    for (const std::unique_ptr<State>& state : states) {
      Xyzz<Fp> short_sum, long_sum;
      if (!sum_digits(state->sums.get(), &state->sums[SHORT_DIGITS], short_sum, long_sum)) return Verdict::collision;
      left = add(left, add(short_sum, short_excess));
      right = add(right, add(long_sum, long_excess));
      for (int v = 0; v < CELL_VECTORS; v++) interpolant.v[v] = Fr::add(interpolant.v[v], state->interpolants.v[v]);
    }
    left = sum_of_lanes(left);
    Xyzz<Fp> commitment;
    if (!commit(interpolant, *states[0], commitment)) return Verdict::collision;
    right = sum_of_lanes(add(right, cneg(0xff, commitment)));
    valid = pairing->equal(left, right);
    return Verdict::done;
  }

  // out[j] = the sum over i of weights[j][i] points[i], compressed. weights: [outputs][count][weight_bytes], big-endian:
  // of 32 bytes, or of 16, which take half as many digits and, if they are even, a correction.
  Verdict combine(const u8* bytes, int count, const u8* weights, int weight_bytes, int outputs, const u8* noise, u8* out,
                  int threads, int& position) const {
    const bool folds = weight_bytes == BYTES_PER_FOLD_SCALAR;
    const int digits = folds ? SHORT_DIGITS : LONG_DIGITS, places = folds ? digits + 1 : digits;
    const int vectors = (count + LANES - 1) / LANES;
    Points points(vectors);
    position = read(bytes, count, points, threads);
    if (position < count) return Verdict::bad_proof;
    const Lease lease(*this, threads);
    const States& states = lease.states;
    if (vectors < FEW_VECTORS || !random_sums_are_members(noise, points, Points(0), threads, states)) {
      position = find_outsiders(points, Points(0), threads).first;
      if (position < count) return Verdict::bad_proof;
    }
    Array<u8> packed(PACKED_VECTOR_BYTES * vectors);
    bool ok = run_tasks(threads, (vectors + CHUNK - 1) / CHUNK, [&](int chunk, int slot) {
      int some, tabled;
      if (!tabulate(points, chunk * CHUNK, *states[slot], some, tabled)) return false;
      for (int v = 0; v < some; v++)
        pack(&states[slot]->multiple[v], tabled, &packed[PACKED_VECTOR_BYTES * (chunk * CHUNK + v)]);
      return true;
    });
    ok = ok && run_tasks(threads, outputs, [&](int j, int slot) {
      State& state = *states[slot];
      for (int i = 0; i < places; i++) state.sums[i] = start;
      DigitSource source;
      for (int v = 0; v < vectors; v++) {
        source.absent_lanes = points.absent[v];
        const u8* const of_sum = weights + size_t(j) * count * weight_bytes;
        const u8* const tabled = &packed[PACKED_VECTOR_BYTES * v];
        if (folds) set_fold_digits(of_sum, count, v * LANES, source, tabled);
        else set_weight_digits(of_sum, count, v * LANES, source, 0, tabled);
        if (!accumulate(state.sums.get(), places, source, state.batch.get())) return false;
      }
      const auto sums = [&](int d) { return state.sums[d]; };
      Jacobian<Fp> digit_sum = horner(jacobian(sums(digits - 1)), digits - 1, DIGIT_BITS, sums);
      if (folds) digit_sum = add_incomplete(digit_sum, sums(digits));
      const Xyzz<Fp> total = to_xyzz(digit_sum);
      if (is_infinity(total)) return false;
      const Xyzz<Fp> sum = sum_of_lanes(add(total, folds ? fold_excess : long_excess));
      Affine<Fp> affine;
      Fp scratch;
      Fp::Mask infinite;
      to_affine(&affine, &sum, 1, &scratch, &infinite);
      u8* to = out + size_t(j) * BYTES_PER_POINT;
      compress(&to, 1, affine, infinite);
      return true;
    });
    return ok ? Verdict::done : Verdict::collision;
  }

 private:
  struct Points {
    Array<Affine<Fp>> point;
    std::vector<Fp::Mask> absent;  // infinity, or beyond the end
    explicit Points(int vectors) : point(vectors), absent(vectors) {}
  };

  static_assert(2 * interpolation_shape().t <= MULTIPLES * CHUNK, "commit takes the room of the multiples");

  // What one thread adds up: 1.1 MiB.
  struct State {
    Array<Affine<Fp>> sums{SUMS}, tests{TESTS};
    bool tested;  // anything was added to the tests
    Remainder interpolants;
    Array<Affine<Fp>> multiple{size_t(MULTIPLES) * CHUNK};
    PowerMemory powers{CHUNK, LEVELS};
    Array<u8> packed{PACKED_VECTOR_BYTES};
    BatchMemory batch;
    void begin(const Affine<Fp>& start) {
      for (int i = 0; i < SUMS; i++) sums[i] = start;
      tested = false;
      interpolants = {};
    }
  };
  using States = std::vector<std::unique_ptr<State>>;

  // The states of a call's threads. They stay for the next call: allocating them again costs a twelfth of
  // the time for 128 cells.
  class Lease {
    const Verifier& verifier;

   public:
    States states;
    Lease(const Verifier& v, int threads) : verifier(v) {
      states.reserve(threads);
      {
        std::lock_guard<std::mutex> guard(verifier.lock);
        verifier.idle.reserve(threads);
        for (; int(states.size()) < threads && !verifier.idle.empty(); verifier.idle.pop_back())
          states.push_back(std::move(verifier.idle.back()));
      }
      while (int(states.size()) < threads) states.push_back(std::make_unique<State>());
      for (const std::unique_ptr<State>& state : states) state->begin(verifier.start);
    }
    ~Lease() {
      std::lock_guard<std::mutex> guard(verifier.lock);
      for (std::unique_ptr<State>& state : states)
        if (verifier.idle.size() < verifier.idle.capacity()) verifier.idle.push_back(std::move(state));
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
  };

  // The sums of 2^(5 d) times those of each digit. False if points met, which the random start makes impossible.
  static bool sum_digits(const Affine<Fp>* shorts, const Affine<Fp>* longs, Xyzz<Fp>& short_sum, Xyzz<Fp>& long_sum) {
    constexpr int REST = LONG_DIGITS - SHORT_DIGITS;  // what the long ones have more
    const auto high = [&](int d) { return longs[SHORT_DIGITS + d]; };
    const auto both = [&](int d) { return twin(shorts[d], longs[d]); };
    Jacobian<Fp> total = horner(jacobian(high(REST - 1)), REST - 1, DIGIT_BITS, high);
    for (int k = 0; k < DIGIT_BITS; k++) total = dbl(total);
    total = add_incomplete(total, longs[SHORT_DIGITS - 1]);
    const auto totals = horner(twin(jacobian(shorts[SHORT_DIGITS - 1]), total), SHORT_DIGITS - 1, DIGIT_BITS, both);
    short_sum = to_xyzz(first(totals)), long_sum = to_xyzz(second(totals));
    return !is_infinity(short_sum) && !is_infinity(long_sum);
  }

  // The least of what tasks find.
  class Least {
    std::atomic<int> value;

   public:
    explicit Least(int none) : value(none) {}
    void found(int at) {
      int before = value.load();
      while (at < before && !value.compare_exchange_weak(before, at)) {
      }
    }
    operator int() const { return value; }
  };

  // Decompresses all points; infinity and what lies beyond the end become absent (and the generator, so that
  // their multiples exist). Position of the first that is no encoding of a point of the curve, or `count`.
  static int read(const u8* bytes, int count, Points& out, int threads) {
    const Affine<Fp> generator{Fp::constant(Curve::generator_x), Fp::constant(Curve::generator_y)};
    Least bad_position(count);
    run_tasks(threads, int(out.absent.size()), [&](int v, int) {
      const int some = count - v * LANES < LANES ? count - v * LANES : LANES;
      const u8* in[LANES];
      for (int lane = 0; lane < some; lane++) in[lane] = bytes + size_t(v * LANES + lane) * BYTES_PER_POINT;
      Fp::Mask infinite;
      const Fp::Mask bad = decompress(in, some, out.point[v], infinite);
      out.absent[v] = infinite | Fp::Mask(~((1 << some) - 1));
      out.point[v] = select(out.absent[v], generator, out.point[v]);
      if (bad) bad_position.found(v * LANES + __builtin_ctz(bad));
      return true;
    });
    return bad_position;
  }

  // Positions of the first points outside of G1 in either list, or one beyond the last.
  struct Outsiders {
    int first, second;
  };
  static Outsiders find_outsiders(const Points& a, const Points& b, int threads) {
    const int split = int(a.absent.size()), vectors = split + int(b.absent.size());
    Least in_a(split * LANES), in_b((vectors - split) * LANES);
    const auto point = [&](int v) -> const Affine<Fp>& { return v < split ? a.point[v] : b.point[v - split]; };
    const auto judge = [&](int v, Fp::Mask members) {
      if (members == 0xff) return;
      const int lane = __builtin_ctz(Fp::Mask(~members));
      v < split ? in_a.found(v * LANES + lane) : in_b.found((v - split) * LANES + lane);
    };
    run_tasks(threads, (vectors + 1) / 2, [&](int pair, int) {
      const int v = 2 * pair, other = v + 1 < vectors ? v + 1 : v;
      const Members members = in_subgroup(point(v), point(other));
      judge(v, members.first);
      judge(other, members.second);
      return true;
    });
    return {in_a, in_b};
  }

  // The source of accumulate: one vector of points for each test, with signs from random bytes.
  struct SignSource {
    static constexpr bool PARTIAL = true;
    const Affine<Fp>& point;
    const u8* noise;
    CELLAR_HD Fp x(int) const { return point.x; }
    CELLAR_HD void y(int i, Fp& y, Fp::Mask& negate) const { y = point.y, negate = below(i, 85); }
    CELLAR_HD void prefetch(int) const {}
    CELLAR_HD Fp::Mask absent(int i) const { return Fp::Mask(~below(i, 170)); }
    CELLAR_HD Fp::Mask below(int i, int limit) const {
      const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(noise + i * LANES));
      return Fp::Mask(_mm_cmplt_epu8_mask(bytes, _mm_set1_epi8(char(limit))));
    }
  };

  // The sums begin at a random point of G1, which changes nothing for the test and keeps points from meeting.
  bool random_sums_are_members(const u8* noise, const Points& commitments, const Points& proofs, int threads,
                               const States& states) const {
    const int first_proof = int(commitments.absent.size());
    bool ok = run_tasks(threads, first_proof + int(proofs.absent.size()), [&](int v, int slot) {
      State& state = *states[slot];
      if (!state.tested) {
        for (int i = 0; i < TESTS; i++) state.tests[i] = start;
        state.tested = true;
      }
      SignSource source{v < first_proof ? commitments.point[v] : proofs.point[v - first_proof],
                        noise + size_t(v) * TESTS * LANES};
      return accumulate(state.tests.get(), TESTS, source, state.batch.get());
    });
    if (!ok) return false;
    Xyzz<Fp> packed[TESTS / LANES];
    for (int i = 0; i < TESTS; i += LANES) {
      Xyzz<Fp> sums[LANES];
      bool begun = false;
      for (const std::unique_ptr<State>& state : states) {
        if (!state->tested) continue;
        for (int k = 0; k < LANES; k++)
          sums[k] = begun ? madd(sums[k], state->tests[i + k]) : from_affine(state->tests[i + k]);
        begun = true;
      }
      packed[i / LANES] = sums_of_lanes(sums);
    }
    Affine<Fp> point[TESTS / LANES];
    Fp scratch[TESTS / LANES];
    Fp::Mask infinite[TESTS / LANES];
    to_affine(point, packed, TESTS / LANES, scratch, infinite);
    for (int i = 0; i < TESTS / LANES; i += 2) {
      const Members members = in_subgroup(point[i], point[i + 1]);
      if ((members.first | infinite[i]) != 0xff || (members.second | infinite[i + 1]) != 0xff) return false;
    }
    return true;
  }

  // The source of accumulate: one multiple of each of 8 points for each digit.
  struct DigitSource {
    static constexpr bool PARTIAL = true;
    const u8* entries[SUMS][LANES];
    Fp::Mask negate[SUMS];
    Fp::Mask absent_lanes;
    int correction = SUMS;  // the place that takes the points themselves away, of scalars made odd
    Fp::Mask uncorrected;

    // Where the multiples of each lane's point begin, with the point itself.
    static V points(const u8* table) {
      const V lane = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
      return _mm512_add_epi64(_mm512_set1_epi64(i64(table)),
                              _mm512_mullo_epi64(lane, _mm512_set1_epi64(MULTIPLES * PACKED_POINT_BYTES)));
    }

    void set_correction(int place, Fp::Mask not_in, const u8* table) {
      correction = place, uncorrected = not_in, negate[place] = 0xff;
      _mm512_storeu_si512(entries[place], points(table));
    }

    // Digits of the odd number sum (2 bit_i - 1) 2^i.
    void set(int first, int count, const V* bits, const u8* table) {
      const V top = _mm512_set1_epi64(MULTIPLES), all = _mm512_set1_epi64(2 * MULTIPLES - 1);
      const V base = points(table);
      for (int i = 0; i < count; i++) {
        const int word = i * DIGIT_BITS / 64, shift = i * DIGIT_BITS % 64;
        V digit = _mm512_srli_epi64(bits[word], shift);
        if (shift + DIGIT_BITS > 64) digit = _mm512_or_si512(digit, _mm512_slli_epi64(bits[word + 1], 64 - shift));
        digit = _mm512_and_si512(digit, all);
        negate[first + i] = _mm512_testn_epi64_mask(digit, top);
        digit = _mm512_andnot_si512(top, _mm512_mask_xor_epi64(digit, negate[first + i], digit, all));
        V offset = _mm512_add_epi64(_mm512_slli_epi64(digit, 6), _mm512_slli_epi64(digit, 5));  // * 96
        _mm512_storeu_si512(entries[first + i], _mm512_add_epi64(base, offset));
      }
    }
    CELLAR_HD Fp x(int i) const { return load_packed_x(entries[i]); }
    CELLAR_HD void y(int i, Fp& y, Fp::Mask& m) const { y = load_packed_y(entries[i]), m = negate[i]; }
    CELLAR_HD void prefetch(int) const {}
    CELLAR_HD Fp::Mask absent(int i) const { return i == correction ? absent_lanes | uncorrected : absent_lanes; }
  };
  static_assert(PACKED_POINT_BYTES == 96);

  // The bits of an odd number for LONG_DIGITS digits: those of (s >> 1) + 2^259.
  static void long_bits(const Fr& canonical, V* bits) {
    recode(canonical, bits);
    bits[3] = _mm512_and_si512(bits[3], _mm512_set1_epi64(i64(~0ull >> 1)));
    bits[4] = _mm512_set1_epi64(1ll << (LONG_DIGITS * DIGIT_BITS - 1 - 256));
  }

  // The bits of an odd number below 2^128 for SHORT_DIGITS digits: those of (s >> 1) + 2^129.
  static void short_bits(V low, V high, V* bits) {
    bits[0] = _mm512_or_si512(_mm512_srli_epi64(low, 1), _mm512_slli_epi64(high, 63));
    bits[1] = _mm512_srli_epi64(high, 1);
    bits[2] = _mm512_set1_epi64(1ll << (SHORT_DIGITS * DIGIT_BITS - 1 - 128));
  }

  // state.multiple[k * tabled + v] = (2k + 1) points[first + v], for v < vectors.
  static bool tabulate(const Points& points, int first, State& state, int& vectors, int& tabled) {
    const int rest = int(points.absent.size()) - first;
    vectors = rest < CHUNK ? rest : CHUNK;
    tabled = 1;  // a power of two, filled up with repetitions
    while (tabled < vectors) tabled *= 2;
    Affine<Fp> chunk[CHUNK];
    for (int v = 0; v < tabled; v++) chunk[v] = points.point[first + (v < vectors ? v : 0)];
    return odd_multiples(state.multiple.get(), chunk, tabled, LEVELS, state.powers);
  }

  // The multiples of one vector, multiple[k * stride], by lane.
  static void pack(const Affine<Fp>* multiple, int stride, u8* packed) {
    for (int k = 0; k < MULTIPLES; k++) {
      u8* entries[LANES];
      for (int lane = 0; lane < LANES; lane++)
        entries[lane] = packed + size_t(lane * MULTIPLES + k) * PACKED_POINT_BYTES;
      store_packed(entries, multiple[k * stride]);
    }
  }

  // Digits of the weights of points at .. at + 7 (32 big-endian bytes each; beyond the end they are 0).
  static void set_weight_digits(const u8* all_weights, int count, int at, DigitSource& source, int first,
                                const u8* packed) {
    alignas(64) u8 weights[LANES][BYTES_PER_ELEMENT] = {};
    const int some = count - at < LANES ? count - at : LANES;
    memcpy(weights, all_weights + size_t(at) * BYTES_PER_ELEMENT, size_t(some) * BYTES_PER_ELEMENT);
    V bits[5];
    long_bits(load_scalars(weights[0], BYTES_PER_ELEMENT), bits);
    source.set(first, LONG_DIGITS, bits, packed);
  }

  // Digits of the scalars of points at .. at + 7. An even one is made odd by adding 1, and its point taken away again.
  static void set_fold_digits(const u8* scalars, int count, int at, DigitSource& source, const u8* packed) {
    alignas(64) u64 low[LANES] = {}, high[LANES] = {};
    for (int lane = 0; lane < LANES && at + lane < count; lane++)
      load_fold_scalar(scalars + size_t(at + lane) * BYTES_PER_FOLD_SCALAR, low[lane], high[lane]);
    const V one = _mm512_set1_epi64(1), given = _mm512_load_si512(low);
    V bits[3];
    short_bits(_mm512_or_si512(given, one), _mm512_load_si512(high), bits);
    source.set(0, SHORT_DIGITS, bits, packed);
    source.set_correction(SHORT_DIGITS, _mm512_test_epi64_mask(given, one), packed);
  }

  template <bool PROOFS>
  bool add_chunk(const CellBatch& batch, const Points& points, int first, State& state) const {
    int vectors, tabled;
    if (!tabulate(points, first, state, vectors, tabled)) return false;
    DigitSource source;
    for (int v = 0; v < vectors; v++) {
      pack(&state.multiple[v], tabled, state.packed.get());
      source.absent_lanes = points.absent[first + v];
      if constexpr (PROOFS) {
        set_proof_digits(batch, (first + v) * LANES, source, state.packed.get());
        if (!accumulate(state.sums.get(), SUMS, source, state.batch.get())) return false;
      } else {
        set_weight_digits(batch.weights, batch.commitment_count, (first + v) * LANES, source, 0, state.packed.get());
        if (!accumulate(&state.sums[SHORT_DIGITS], LONG_DIGITS, source, state.batch.get())) return false;
      }
    }
    return true;
  }

  void set_proof_digits(const CellBatch& batch, int at, DigitSource& source, const u8* packed) const {
    alignas(64) u64 low[LANES], high[LANES];
    Fr z;
    for (int lane = 0; lane < LANES; lane++) {
      const int k = at + lane < batch.count ? at + lane : at;
      low[lane] = batch.factors[2 * k], high[lane] = batch.factors[2 * k + 1];
      u64 limbs[Fr::LIMBS];
      domain.cell_root(batch.columns[k]).lane(0, limbs);
      z.set_lane(lane, limbs);
    }
    const V words[4] = {_mm512_load_si512(low), _mm512_load_si512(high), _mm512_setzero_si512(), _mm512_setzero_si512()};
    V bits[5];
    short_bits(words[0], words[1], bits);
    source.set(0, SHORT_DIGITS, bits, packed);
    long_bits(Fr::canonical(Fr::mul(Fr::from_word_vectors(words), z)), bits);
    source.set(SHORT_DIGITS, LONG_DIGITS, bits, packed);
  }

  // interpolants += the remainder of sum r_k cell_k. False if an element is >= r.
  bool add_column(const CellBatch& batch, int column, const std::vector<int>& members, Remainder& interpolants) const {
    if (members.empty()) return true;
    Remainder sum{}, cell;
    for (int k : members) {
      const u64 words[4] = {batch.factors[2 * k], batch.factors[2 * k + 1], 0, 0};
      const Fr factor = Fr::mul(Fr::to_montgomery(plain(words)), domain.scale_in);
      if (!Domain::load_cell(batch.cells + size_t(k) * BYTES_PER_CELL, factor, cell)) return false;
      for (int l = 0; l < CELL_VECTORS; l++) sum.v[l] = Fr::add(sum.v[l], cell.v[l]);
    }
    domain.interpolate(sum, column);
    for (int v = 0; v < CELL_VECTORS; v++) interpolants.v[v] = Fr::add(interpolants.v[v], sum.v[v]);
    return true;
  }

  // out = [I(s)] as 8 partial sums: lane l of vector v is coefficient 8 v + l.
  bool commit(const Remainder& interpolant, State& state, Xyzz<Fp>& out) const {
    CombBits bits(table.shape);
    V words[CELL_VECTORS][4];
    for (int v = 0; v < CELL_VECTORS; v++) recode_halves(Fr::from_montgomery(interpolant.v[v]), words[v]);
    bits.set(words[0]);
    const CombBits* pointer = &bits;
    // The multiples have done their work: there is room for the walk's accumulators.
    return table.multiply(&out, {Across::columns, 0, 1, &pointer}, state.multiple.get(), state.batch);
  }
};

}  // namespace cellar
