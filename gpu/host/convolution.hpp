// The constant convolution that ends FK20, on points in lanes; gpu/host/folding.py derives it.
//
// Sums and differences of the 128 inputs (in the order of columns: even ones first) split each parity into a cyclic
// part of size 2 and negacyclic ones, and fold the negacyclic ones in two. What is left is to multiply six small
// matrices of constants with vectors whose elements are 4 points each: a quad, half of a vector's lanes. The odd
// multiples P, 3P, .., 127P of all points are tabled; then each entry of a matrix adds, for each digit of its constant,
// one multiple of a quad to an accumulator. An accumulator has two quads, of two rows: it gets halves of two vectors.
//
// The digits' sums are separate accumulators (output vector, half of the constant, digit): adding is batched, and the
// powers of two come at the end, with the endomorphism applied once to the sums of the second halves.
//
// The additions are incomplete and the inputs depend on the caller's data: blinding makes collisions
// impossible to provoke (see prover.hpp). `run` returns false if one happens nevertheless.
#pragma once
#include <algorithm>

#include "jacobian.hpp"
#include "multiples.hpp"
#include "tasks.hpp"
#include "vectors.hpp"

namespace cellar {

constexpr int PROOF_VECTORS = CELLS / LANES;

class Convolution {
 public:
  static constexpr int HALVES = 2, DIGITS = 19, DIGIT_BITS = 7, LEVELS = DIGIT_BITS - 1, MULTIPLES = 1 << LEVELS;
  static constexpr int SUMS = HALVES * DIGITS;
  static constexpr int QUAD = 4;
  static constexpr int INPUT_VECTORS = 17;  // the columns of all matrices, two to a vector

 private:
  // Where points are in the pool: the inputs, what they are split into, the quads, their products, and all the way
  // back. `p` is the parity.
  struct Place {
    static constexpr int quads = 376, products = 512, unfolded = 640, joined = 760, results = 1008, end = 1136;
    static constexpr int negacyclic(int size, int p, int i) { return 384 - 8 * size + p * size + i; }
    static constexpr int cyclic(int size, int p, int i) { return 384 - 6 * size + p * size + i; }
    static constexpr int product(int row, int lane) { return products + QUAD * row + lane; }
    static constexpr int negacyclic_out(int size, int p, int i) {
      return size == 2 ? product(30, 2 * p + i) : unfolded + 128 - 4 * size + p * size + i;
    }
    static constexpr int cyclic_out(int size, int p, int i) {
      return size == 2 ? product(31, 2 * p + i) : joined + 2 * size - 8 + p * size + i;
    }
  };

 public:
  // Vectors of one thread: 2.7 MiB.
  struct Memory {
    Array<Affine<Fp>> pool{Place::end / LANES}, other{INPUT_VECTORS};
    Array<Affine<Fp>> multiple{size_t(MULTIPLES) * INPUT_VECTORS};
    Array<Affine<Fp>> sum{size_t(SUMS) * PROOF_VECTORS};
    Array<Xyzz<Fp>> walk{PROOF_VECTORS};
    Array<Fp> scratch{PROOF_VECTORS};
    PowerMemory powers{INPUT_VECTORS, LEVELS};
    BatchMemory batch;
  };

  // digits: [344 constants][2 halves][19], as gpu.host.folding.matrix_digits gives them.
  explicit Convolution(const i16* digits) : digit(size_t(CONSTANTS) * SUMS), taps(size_t(TAP_VECTORS) * SUMS) {
    for (size_t i = 0; i < digit.size(); i++) digit[i] = digits[i];
    make_steps();
    make_taps();
  }

  // out[a] = u[a] + sum of k[e] u[a - e]. False if points collided; `out` then means nothing. The longest stage is
  // shared out among `threads`; batch_of(slot) is room for a batch of each.
  template <class BatchOf>
  bool run(Affine<Fp>* out, const Affine<Fp>* u, Memory& m, int threads, const BatchOf& batch_of) const {
    Affine<Fp>* pool = m.pool.get();
    for (int v = 0; v < PROOF_VECTORS; v++) pool[v] = u[v];
    // Each stage stops at a collision.
    const Affine<Fp>* quads = pool + Place::quads / LANES;
    if (!walk_steps(split, m) || !odd_multiples(m.multiple.get(), quads, INPUT_VECTORS, LEVELS, m.powers)) return false;
    if (!add_taps(m, threads, batch_of) || !join_halves(m) || !sum_digits(m)) return false;
    if (!walk_steps(join, m)) return false;
    for (int v = 0; v < PROOF_VECTORS; v++) out[v] = pool[Place::results / LANES + v];
    return true;
  }

  // The same for any points, infinity and equal ones too, with complete additions and no tables: each constant
  // bit by bit, a sign for each. Slow (some 50 ms); for inputs that `run` refused.
  void run_complete(Xyzz<Fp>* out, const Xyzz<Fp>* u) const {
    Array<Xyzz<Fp>> pool(Place::end / LANES);
    for (int v = 0; v < PROOF_VECTORS; v++) pool[v] = u[v];
    const auto walk = [&](const std::vector<Step>& steps) {
      for (const Step& step : steps)
        for (int v = 0; v < step.vectors; v++)
          pool[step.first + v] = select(step.absent[v], gather(pool.get(), step.from[v]),
                                        add(gather(pool.get(), step.from[v]),
                                            cneg(step.negate[v], gather(pool.get(), step.other[v]))));
    };
    walk(split);
    for (int v = 0; v < PROOF_VECTORS; v++) pool[Place::products / LANES + v] = output_complete(pool.get(), v);
    walk(join);
    for (int v = 0; v < PROOF_VECTORS; v++) out[v] = pool[Place::results / LANES + v];
  }

 private:
  // ---- the plan: the same for all inputs --------------------------------------------------------------------------

  // Sums and differences: point i of the new ones is pool[from] + or - pool[other], or pool[from] alone.
  struct Step {
    int first, vectors;
    std::vector<Fp::Mask> negate, absent;
    Array<V> from, other;  // by lane
  };
  struct Term {
    int from, other;
    bool minus;
  };
  static constexpr int NOTHING = -1;

  // Output vectors of equal matrices, how many columns those have, and where they begin among the output vectors and,
  // by vector and column, among the taps.
  struct Part {
    int vectors, columns, first, first_tap;
  };
  static constexpr Part PARTS[4] = {{8, 16, 0, 0}, {4, 8, 8, 128}, {2, 4, 12, 160}, {2, 2, 14, 168}};
  static constexpr int CONSTANTS = 344, TAP_VECTORS = 172;

  // A row of a matrix: of which constants, and which quads it is multiplied with.
  struct Row {
    int first_constant, first_quad;
  };
  static constexpr Row row_of(int row) {
    if (row < 16) return {16 * row, 0};
    if (row < 24) return {256 + 8 * (row - 16), 16};
    if (row < 28) return {320 + 4 * (row - 24), 24};
    if (row < 30) return {336 + 2 * (row - 28), 28};
    return {340 + 2 * (row - 30), 30 + 2 * (row - 30)};
  }
  // Modulo X^2 + 1 the element that X moves to the front changes its sign.
  static Fp::Mask wrapped(int vector, int column) { return vector == PROOF_VECTORS - 1 && column == 1 ? 0x05 : 0; }

  // What an accumulator gets: the halves of two vectors, as offsets in bytes from the first multiple.
  struct Tap {
    u32 low, high;
    Fp::Mask negate;
  };

  Array<i16> digit;
  Array<Tap> taps;  // [part][column][sum][vector of the part]
  std::vector<Step> split, join;

  template <class Choose>
  static Step step(int first, int points, const Choose& choose) {
    const int vectors = points / LANES;
    Step out{first / LANES,    vectors, std::vector<Fp::Mask>(vectors), std::vector<Fp::Mask>(vectors),
             Array<V>(vectors), Array<V>(vectors)};
    for (int v = 0; v < vectors; v++) {
      alignas(64) i64 from[LANES], other[LANES];
      for (int lane = 0; lane < LANES; lane++) {
        const Term term = choose(v * LANES + lane);
        from[lane] = term.from, other[lane] = term.other == NOTHING ? term.from : term.other;
        if (term.minus) out.negate[v] |= Fp::Mask(1 << lane);
        if (term.other == NOTHING) out.absent[v] |= Fp::Mask(1 << lane);
      }
      out.from[v] = _mm512_load_si512(from), out.other[v] = _mm512_load_si512(other);
    }
    return out;
  }

  void make_steps() {
    for (int n = 32; n >= 2; n /= 2)  // cyclic 2n to negacyclic n (low - high) and cyclic n (low + high)
      split.push_back(step(Place::negacyclic(n, 0, 0), 4 * n, [n](int i) {
        const int p = i / n % 2, at = i % n;
        return Term{Place::cyclic(2 * n, p, at), Place::cyclic(2 * n, p, at + n), i < 2 * n};
      }));
    split.push_back(step(Place::quads, QUAD * 2 * INPUT_VECTORS, [](int i) {
      const int quad = i / QUAD, p = i / 2 % 2, second = i % 2;
      if (quad >= 30) {
        const int at = quad % 2 ? 1 - second : second;
        return Term{quad < 32 ? Place::negacyclic(2, p, at) : Place::cyclic(2, p, at), NOTHING, false};
      }
      const int n = quad < 16 ? 32 : quad < 24 ? 16 : quad < 28 ? 8 : 4, m = n / 2, j = quad - (32 - n);
      if (j == 0) return Term{Place::negacyclic(n, p, second ? m : 0), NOTHING, false};
      return second ? Term{Place::negacyclic(n, p, m - j), Place::negacyclic(n, p, m + j), false}
                    : Term{Place::negacyclic(n, p, j), Place::negacyclic(n, p, n - j), true};
    }));
    join.push_back(step(Place::unfolded, 120, [](int i) {
      const int n = i < 64 ? 32 : i < 96 ? 16 : i < 112 ? 8 : 4, m = n / 2;
      const int p = (i - (128 - 4 * n)) / n, at = i % n, row = at < m ? at : n - 1 - at;
      return Term{Place::product(32 - n + row, 2 * p), Place::product(32 - n + m - 1 - row, 2 * p + 1), at < m};
    }));
    for (int n = 2; n <= 32; n *= 2)
      join.push_back(step(Place::cyclic_out(2 * n, 0, 0), 4 * n, [n](int i) {
        const int p = i / (2 * n), at = i % n;
        return Term{Place::cyclic_out(n, p, at), Place::negacyclic_out(n, p, at), i % (2 * n) >= n};
      }));
    join.push_back(step(Place::results, CELLS, [](int i) {
      constexpr int HALF = CELLS / 2;
      // Even results get the sums of odd inputs, moved by one place.
      const int at = i < HALF ? (i + HALF - 1) % HALF : i - HALF;
      return Term{i, Place::cyclic_out(HALF, i < HALF, at), false};
    }));
  }

  void make_taps() {
    const auto offset = [](int quad, int digit) {
      const int multiple = (digit < 0 ? -digit : digit) / 2 * INPUT_VECTORS + quad / 2;
      return u32(multiple * sizeof(Affine<Fp>) + quad % 2 * (sizeof(V) / 2));
    };
    for (const Part& part : PARTS) {
      Tap* tap = &taps[size_t(part.first_tap) * SUMS];
      for (int column = 0; column < part.columns; column++) {
        for (int sum = 0; sum < SUMS; sum++) {
          for (int vector = part.first; vector < part.first + part.vectors; vector++) {
            const int rows[2] = {2 * vector, 2 * vector + 1};
            const int low = digits_of(rows[0], column)[sum], high = digits_of(rows[1], column)[sum];
            const int negate = (low < 0 ? 0x0f : 0) | (high < 0 ? 0xf0 : 0);
            *tap++ = {offset(row_of(rows[0]).first_quad + column, low),
                      offset(row_of(rows[1]).first_quad + column, high), Fp::Mask(negate ^ wrapped(vector, column))};
          }
        }
      }
    }
  }

  const i16* digits_of(int row, int column) const { return &digit[size_t(row_of(row).first_constant + column) * SUMS]; }

  // ---- the work ---------------------------------------------------------------------------------------------------

  // Lane l of the result is the point at index[l] of the pool.
  template <class Point>
  static Point gather(const Point* pool, V index) {
    constexpr int VECTORS = sizeof(Point) / sizeof(V);
    const V word = _mm512_add_epi64(_mm512_mullo_epi64(_mm512_srli_epi64(index, 3), _mm512_set1_epi64(VECTORS * LANES)),
                                    _mm512_and_si512(index, _mm512_set1_epi64(LANES - 1)));
    Point out;
    for (int k = 0; k < VECTORS; k++)
      reinterpret_cast<V*>(&out)[k] = _mm512_i64gather_epi64(word, reinterpret_cast<const V*>(pool) + k, 8);
    return out;
  }

  // The source of accumulate: a point for each sum, with a sign for each lane.
  struct StepSource {
    static constexpr bool PARTIAL = true;
    const Affine<Fp>* other;
    const Step& step;
    CELLAR_HD Fp x(int i) const { return other[i].x; }
    CELLAR_HD void y(int i, Fp& y, Fp::Mask& negate) const { y = other[i].y, negate = step.negate[i]; }
    CELLAR_HD void prefetch(int) const {}
    CELLAR_HD Fp::Mask absent(int i) const { return step.absent[i]; }
  };

  static bool walk_steps(const std::vector<Step>& steps, Memory& m) {
    for (const Step& step : steps) {
      Affine<Fp>* to = &m.pool[step.first];
      for (int v = 0; v < step.vectors; v++) {
        to[v] = gather(m.pool.get(), step.from[v]);
        m.other[v] = gather(m.pool.get(), step.other[v]);
      }
      StepSource source{m.other.get(), step};
      if (!accumulate(to, step.vectors, source, m.batch.get())) return false;
    }
    return true;
  }

  // One vector of products.
  Xyzz<Fp> output_complete(const Xyzz<Fp>* pool, int vector) const {
    const Part& part = *std::find_if(PARTS, PARTS + 4, [&](const Part& p) { return vector < p.first + p.vectors; });
    const Fp beta = Fp::constant(Curve::beta);
    Array<Xyzz<Fp>> input(part.columns), image(part.columns);  // image = phi(input)
    for (int column = 0; column < part.columns; column++) {
      alignas(64) i64 index[LANES];
      for (int lane = 0; lane < LANES; lane++)
        index[lane] = Place::quads + QUAD * (row_of(2 * vector + lane / QUAD).first_quad + column) + lane % QUAD;
      input[column] = cneg(wrapped(vector, column), gather(pool, _mm512_load_si512(index)));
      image[column] = input[column];
      image[column].x = Fp::mul(image[column].x, beta);
    }
    Xyzz<Fp> total = infinity<Fp>();
    for (int bit = DIGITS * DIGIT_BITS - 1; bit >= 0; bit--) {
      total = dbl(total);
      for (int column = 0; column < part.columns; column++) {
        for (int half = 0; half < HALVES; half++) {
          const auto minus = [&](int row) {
            const int d = digits_of(row, column)[half * DIGITS + bit / DIGIT_BITS];
            return !((d + (1 << DIGIT_BITS) - 1) / 2 >> bit % DIGIT_BITS & 1);
          };
          const Fp::Mask negate = Fp::Mask((minus(2 * vector) ? 0x0f : 0) | (minus(2 * vector + 1) ? 0xf0 : 0));
          total = add(total, cneg(negate, half ? image[column] : input[column]));
        }
      }
    }
    return total;
  }

  // Where the sums of a part are: [half][digit][vector], so that the two halves are two runs.
  static int first_sum(const Part& part) { return SUMS * part.first; }

  // A task has some of a part's sums: 152 vectors at most, fewer for more threads, as smaller batches cost more
  // inversions.
  template <class BatchOf>
  bool add_taps(Memory& m, int threads, const BatchOf& batch_of) const {
    struct Share {
      const Part* part;
      int first, count;
    };
    std::vector<Share> shares;
    for (const Part& part : PARTS) {
      const int pieces = (threads < 4 ? 1 : 2) * (part.vectors < 4 ? 1 : part.vectors / 4);
      for (int i = 0; i < pieces; i++)
        shares.push_back({&part, SUMS * i / pieces, SUMS * (i + 1) / pieces - SUMS * i / pieces});
    }
    return run_tasks(threads, int(shares.size()), [&](int task, int slot) {
      return add_taps_to(m, *shares[task].part, shares[task].first, shares[task].count, batch_of(slot));
    });
  }

  // To `count` of the part's sums, from `first` on.
  bool add_taps_to(Memory& m, const Part& part, int first, int count, const Batch<Fp>& batch) const {
    const int n = count * part.vectors;
    Affine<Fp>* sums = &m.sum[first_sum(part) + first * part.vectors];
    TapSource source{reinterpret_cast<const u8*>(m.multiple.get()),
                     &taps[size_t(part.first_tap) * SUMS + first * part.vectors]};
    for (int i = 0; i < n; i++) {
      Fp::Mask negate;
      Fp y;
      sums[i].x = source.x(i);
      source.y(i, y, negate);
      sums[i].y = Fp::cneg(negate, y);
    }
    for (int column = 1; column < part.columns; column++) {
      source.taps += SUMS * part.vectors;
      if (!accumulate(sums, n, source, batch)) return false;
    }
    return true;
  }

  // The source of accumulate: two quads for each sum.
  struct TapSource {
    const u8* multiples;
    const Tap* taps;
    static CELLAR_HD Fp joined(const u8* low, const u8* high) {
      const auto half = [](const u8* p, int k) {
        return _mm256_load_si256(reinterpret_cast<const __m256i*>(p + k * sizeof(V)));
      };
      Fp out;
      CELLAR_UNROLL for (int k = 0; k < Fp::LIMBS; k++)
        out.v[k] = _mm512_inserti64x4(_mm512_castsi256_si512(half(low, k)), half(high, k), 1);
      return out;
    }
    CELLAR_HD Fp x(int i) const { return joined(multiples + taps[i].low, multiples + taps[i].high); }
    CELLAR_HD void y(int i, Fp& y, Fp::Mask& negate) const {
      y = joined(multiples + taps[i].low + sizeof(Fp), multiples + taps[i].high + sizeof(Fp));
      negate = taps[i].negate;
    }
    CELLAR_HD void prefetch(int) const {}
  };

  // The sums of the first halves get phi of those of the second halves: [lambda](x, y) = (beta x, y).
  static bool join_halves(Memory& m) {
    const Fp beta = Fp::constant(Curve::beta);
    for (const Part& part : PARTS) {
      const int n = DIGITS * part.vectors;
      Affine<Fp>*first = &m.sum[first_sum(part)], *second = first + n;
      for (int i = 0; i < n; i++) second[i].x = Fp::mul(second[i].x, beta);
      PointSource<Fp> source{second, 0};
      if (!accumulate(first, n, source, m.batch.get())) return false;
    }
    return true;
  }

  // Horner's rule over the digits: each product is the sum of 2^(7 d) sums[d].
  static bool sum_digits(Memory& m) {
    for (const Part& part : PARTS) {
      for (int v = 0; v < part.vectors; v += 2) {
        const auto sums = [&, first = &m.sum[first_sum(part) + v]](int d) {
          const Affine<Fp>* pair = first + d * part.vectors;
          return twin(pair[0], pair[1]);
        };
        const Jacobian<Twin<Fp>> total = horner(jacobian(sums(DIGITS - 1)), DIGITS - 1, DIGIT_BITS, sums);
        m.walk[part.first + v] = to_xyzz(first(total));
        m.walk[part.first + v + 1] = to_xyzz(second(total));
      }
    }
    Fp::Mask infinite[PROOF_VECTORS];
    to_affine(&m.pool[Place::products / LANES], m.walk.get(), PROOF_VECTORS, m.scratch.get(), infinite);
    for (Fp::Mask mask : infinite)
      if (mask) return false;
    return true;
  }
};

}  // namespace cellar
