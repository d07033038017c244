// Fixed-base multi-scalar multiplication in lanes: the comb's tables and the walk through them.
//
// A walk sums up some slots: a slot is 8 sums, one in each lane, and its accumulators are 2 t vectors, one for each
// half of a scalar (halves.hpp) and position. Its lanes are either 8 columns of one row, or one column of 8 rows. A
// row alone needs the first. The second is faster by what memory costs: all lanes, positions and halves of a slot then
// read the same window of the same column, some 50 KiB that stay in cache, and the table is read once for 8 rows.
//
// Which entries come next is known, so the walk fetches those of the next window while it adds the present ones:
// without that, memory latency would cost more than the additions.
#pragma once
#include "comb.cuh"
#include "halves.hpp"
#include "multiples.hpp"
#include "vectors.hpp"

namespace cellar {

// Rows of 64 words to columns: bit i of word[k] to bit k of word[i], in each lane.
inline void transpose_bits(V* word) {
  u64 mask = ~0ull >> 32;
  for (int j = 32; j > 0; j >>= 1, mask ^= mask << j) {
    const V m = _mm512_set1_epi64(i64(mask));
    for (int k = 0; k < 64; k = ((k | j) + 1) & ~j) {
      V t = _mm512_and_si512(_mm512_xor_si512(_mm512_srli_epi64(word[k], j), word[k | j]), m);
      word[k] = _mm512_xor_si512(word[k], _mm512_slli_epi64(t, j));
      word[k | j] = _mm512_xor_si512(word[k | j], t);
    }
  }
}

// A slot's scalars by vector: row i holds, over ceil(expanded / 64) words, the bits of vector i of its accumulators.
class CombBits {
  const CombShape shape;
  const int blocks, chunks;  // of 64 positions of a half, of 64 expanded points
  Array<V> rows;

 public:
  explicit CombBits(const CombShape& s)
      : shape(s), blocks(s.t / 64), chunks((s.expanded() + 63) / 64), rows(size_t(HALVES) * blocks * chunks * 64) {}

  // words: [points][4] recoded scalars.
  void set(const V* words) {
    for (int half = 0; half < HALVES; half++) {
      for (int block = 0; block < blocks; block++) {
        for (int chunk = 0; chunk < chunks; chunk++) {
          V* matrix = &rows[((half * blocks + block) * chunks + chunk) * 64];
          for (int k = 0; k < 64; k++) {
            int e = 64 * chunk + k, tooth = e / shape.points, point = e % shape.points;
            const int word = 4 * point + 2 * half + tooth * blocks + block;
            matrix[k] = e < shape.expanded() ? words[word] : _mm512_setzero_si512();
          }
          transpose_bits(matrix);
        }
      }
    }
  }

  // Bits start .. start + length - 1 of vector i, and what is above them in 64 bits.
  CELLAR_HD V digit(int i, int start, int length) const {
    const V* row = &rows[(i / 64 * chunks + start / 64) * 64 + i % 64];
    const unsigned shift = start % 64;
    V bits = _mm512_srli_epi64(row[0], shift);
    if (shift + length > 64) bits = _mm512_or_si512(bits, _mm512_slli_epi64(row[64], 64 - shift));
    return bits;
  }
};

// What the lanes of a slot are.
enum class Across { columns, rows };

// Slots to sum up: the lanes of slot i are columns 8 (first + i) and on, or all are column first + i.
struct Slots {
  Across across;
  int first, count;
  const CombBits* const* bits;
};

class CombTable {
 public:
  static constexpr int MAX_SLOTS = BATCH / (HALVES * 64);  // to a batch
  const CombShape shape;

 private:
  Array<u8> data;  // [column][entry] of packed points

 public:
  explicit CombTable(const CombShape& s) : shape(s), data(size_t(s.columns) * s.entries() * PACKED_POINT_BYTES) {}
  size_t bytes() const { return data.bytes(); }
  int groups() const { return shape.columns / LANES; }
  int windows() const { return shape.windows(); }
  int vectors() const { return HALVES * shape.t; }  // accumulators of a slot
  // How many slots are summed up together: what the walk then keeps in L2 are accumulators and scratch, 2 KiB a vector,
  // and the entries of two windows, 2 KiB a vector of columns.
  int slots_per_batch(Across across) const {
    const int fit = (across == Across::rows ? BATCH : BATCH / 2) / vectors();
    return fit > 0 ? fit : 1;
  }

  // Fills the tables of group g from its points [points], lanes = columns. False if points collide.
  bool build(int group, const Affine<Fp>* points) {
    const int n = shape.expanded(), teeth = shape.teeth();
    Array<Xyzz<Fp>> walk(n);
    Array<Affine<Fp>> single(n), twice(n);
    Array<Fp> scratch(n);
    for (int i = 0; i < shape.points; i++) {
      Xyzz<Fp> p = from_affine(points[i]);
      for (int tooth = 0; tooth < teeth; tooth++) {
        walk[tooth * shape.points + i] = p;
        for (int k = 0; k < shape.t && tooth + 1 < teeth; k++) p = dbl(p);
      }
    }
    to_affine(single.get(), walk.get(), n, scratch.get(), static_cast<Fp::Mask*>(nullptr));
    for (int e = 0; e < n; e++) walk[e] = dbl(walk[e]);
    to_affine(twice.get(), walk.get(), n, scratch.get(), static_cast<Fp::Mask*>(nullptr));

    const int most = 1 << (shape.window_length(0) - 1);
    Array<Affine<Fp>> sums(most);
    Array<Fp> difference(most), prefix(most);
    const Batch<Fp> batch{difference.get(), prefix.get()};
    for (int w = 0; w < shape.windows(); w++) {
      const int start = shape.window_start(w), free_signs = shape.window_length(w) - 1;
      sums[0] = single[start + free_signs];
      for (int i = 0; i < free_signs; i++) {
        PointSource<Fp> minus{&single[start + i], 0xff};
        if (!accumulate(sums.get(), 1, minus, batch)) return false;
      }
      for (int i = 0; i < free_signs; i++) {  // a sign turned to + adds the point twice
        for (int k = 0; k < 1 << i; k++) sums[(1 << i) + k] = sums[k];
        SamePoint plus{&twice[start + i]};
        if (!accumulate(sums.get() + (1 << i), 1 << i, plus, batch)) return false;
      }
      for (int k = 0; k < 1 << free_signs; k++) {
        u8* entries[LANES];
        for (int lane = 0; lane < LANES; lane++)
          entries[lane] = &data[entry_offset(group * LANES + lane, shape.window_entry(w) + k)];
        store_packed(entries, sums[k]);
      }
    }
    return true;
  }

  // out[i] = the sums of slot i, of slots_per_batch() or fewer; acc has room for their vectors. False if accumulators
  // collide (impossible).
  bool multiply(Xyzz<Fp>* out, const Slots& slots, Affine<Fp>* acc, BatchMemory& memory) const {
    return add_windows(acc, slots, 0, windows(), true, memory) && sum_positions(out, slots.count, acc, memory);
  }

  // The two steps of `multiply`. The first adds windows `from` to `to` - 1 of each slot to its accumulators, which it
  // sets to the first window when `fresh`.
  bool add_windows(Affine<Fp>* acc, const Slots& slots, int from, int to, bool fresh, BatchMemory& memory) const {
    const int n = slots.count * vectors();
    Walk walk(*this, slots, from, to);
    if (fresh) {
      for (int i = n - 1; i >= 0; i--) {
        Fp::Mask negate;
        acc[i].x = walk.x(i);
        walk.y(i, acc[i].y, negate);
        acc[i].y = Fp::cneg(negate, acc[i].y);
      }
      walk.fetch_all();
    }
    for (int w = fresh ? from + 1 : from; w < to; w++) {
      if (w > from) walk.advance();
      if (!accumulate(acc, n, walk, memory.get())) return false;
    }
    return true;
  }

  bool sum_positions(Xyzz<Fp>* out, int count, Affine<Fp>* acc, BatchMemory& memory) const {
    // Equal points here would be a relation of the setup's points with coefficients +-2^(t j) +-lambda 2^(t j'), too.
    const Fp beta = Fp::constant(Curve::beta);
    const int n = count * shape.t;
    for (int i = n; i < 2 * n; i++) acc[i].x = Fp::mul(acc[i].x, beta);
    PointSource<Fp> second{acc + n, 0};
    if (!accumulate(acc, n, second, memory.get())) return false;
    // Scalars that are all 0 make the last addition meet the opposite point, and crafted ones may make an earlier
    // one do so: these additions are complete.
    for (int slot = 0; slot < count; slot++) out[slot] = from_affine(acc[(slot + 1) * shape.t - 1]);
    for (int k = shape.t - 2; k >= 0; k--)
      for (int slot = 0; slot < count; slot++) out[slot] = madd(dbl(out[slot]), acc[slot * shape.t + k]);
    return true;
  }

 private:
  size_t entry_offset(int column, int entry) const {
    return (size_t(column) * shape.entries() + entry) * PACKED_POINT_BYTES;
  }

  struct SamePoint {
    const Affine<Fp>* point;
    CELLAR_HD Fp x(int) const { return point->x; }
    CELLAR_HD void y(int, Fp& y, Fp::Mask& m) const { y = point->y, m = 0; }
    CELLAR_HD void prefetch(int) const {}
  };

  // The source of accumulate: entries of the present window; prefetch finds and fetches those of the next. Vectors are
  // in the order [half][slot][position].
  class Walk {
    struct Step {
      alignas(64) const u8* entries[BATCH][LANES];
      Fp::Mask negate[BATCH];
    };
    const CombTable& table;
    const Slots& slots;
    const int n, last;
    int window;
    Step steps[2];

    // Of the window that `find` looks into.
    int start, length;
    V sign, low;        // bits of a digit: the sign, and those below it
    V base[MAX_SLOTS];  // where the lanes' entries begin

    void open(int w) {
      const CombShape& shape = table.shape;
      start = shape.window_start(w), length = shape.window_length(w);
      sign = _mm512_set1_epi64(1ll << (length - 1));
      low = _mm512_sub_epi64(sign, _mm512_set1_epi64(1));
      for (int slot = 0; slot < slots.count; slot++) {
        const bool columns = slots.across == Across::columns;
        const int column = columns ? (slots.first + slot) * LANES : slots.first + slot;
        const size_t stride = columns ? size_t(shape.entries()) * PACKED_POINT_BYTES : 0;
        const V lane = _mm512_mullo_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(i64(stride)));
        const u8* first = &table.data[table.entry_offset(column, shape.window_entry(w))];
        base[slot] = _mm512_add_epi64(lane, _mm512_set1_epi64(i64(first)));
      }
    }
    CELLAR_HD void find(Step& step, int i) const {
      const int t = table.shape.t, run = i / unsigned(t), slot = slots.count == 1 ? 0 : run % unsigned(slots.count);
      const int half = slots.count == 1 ? run : run / unsigned(slots.count);
      V digit = slots.bits[slot]->digit(half * t + i % unsigned(t), start, length);
      const __mmask8 negate = _mm512_testn_epi64_mask(digit, sign);
      V index = _mm512_and_si512(digit, low);
      index = _mm512_mask_xor_epi64(index, negate, index, low);
      const V offset = _mm512_add_epi64(_mm512_slli_epi64(index, 6), _mm512_slli_epi64(index, 5));  // * 96
      _mm512_store_si512(step.entries[i], _mm512_add_epi64(base[slot], offset));
      step.negate[i] = negate;
    }

   public:
    // Begins with the entries of window `from`.
    Walk(const CombTable& t, const Slots& s, int from, int to)
        : table(t), slots(s), n(s.count * t.vectors()), last(to - 1), window(from) {
      open(from);
      for (int i = 0; i < n; i++) find(steps[from & 1], i), fetch(steps[from & 1], i);
      if (from < last) open(from + 1);
    }
    void fetch_all() {
      for (int i = 0; i < n; i++) prefetch(i);
    }
    void advance() {
      window++;
      if (window < last) open(window + 1);
    }

    CELLAR_HD Fp x(int i) const { return load_packed_x(steps[window & 1].entries[i]); }
    CELLAR_HD void y(int i, Fp& y, Fp::Mask& negate) const {
      y = load_packed_y(steps[window & 1].entries[i]);
      negate = steps[window & 1].negate[i];
    }
    CELLAR_HD void prefetch(int i) {
      if (window == last) return;
      Step& next = steps[(window + 1) & 1];
      find(next, i);
      fetch(next, i);
    }

   private:
    static CELLAR_HD void fetch(const Step& step, int i) {
      CELLAR_UNROLL for (int lane = 0; lane < LANES; lane++) {
        __builtin_prefetch(step.entries[i][lane]);
        __builtin_prefetch(step.entries[i][lane] + PACKED_POINT_BYTES - 1);
      }
    }
  };
};

}  // namespace cellar
