// Fixed-base multi-scalar multiplication in lanes: the comb's tables and the walk through them.
//
// Lanes are columns: a group is 8 columns. The accumulators of a batch are (group, position) pairs, at most
// BATCH of them, and each window adds one entry of the table to each. Which entries come next is known, so the
// walk fetches the whole next window while it adds the present one: without that, memory latency would cost more
// than the additions.
#pragma once
#include "comb.cuh"
#include "multiples.hpp"
#include "vectors.hpp"

namespace cellar {

// What a walk keeps in L2: its accumulators and scratch, and the entries of two windows, 4 KiB a vector.
constexpr int WALK_BATCH = 128;

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

// The bits of (s >> 1) + 2^255 for s made odd, from canonical s.
CELLAR_HD void recode(const Fr& canonical, V* words) {
  const V low52 = _mm512_set1_epi64((1ll << 52) - 1);
  __mmask8 even = _mm512_testn_epi64_mask(canonical.v[0], _mm512_set1_epi64(1));
  Fr odd;
  V carry = _mm512_setzero_si512();
  CELLAR_UNROLL for (int i = 0; i < Fr::LIMBS; i++) {
    V t = _mm512_add_epi64(canonical.v[i], carry);
    t = _mm512_mask_add_epi64(t, even, t, _mm512_set1_epi64(i64(FrLanes::MODULUS[i])));
    odd.v[i] = _mm512_and_si512(t, low52);
    carry = _mm512_srli_epi64(t, 52);
  }
  V whole[4];
  odd.to_word_vectors(whole);
  CELLAR_UNROLL for (int i = 0; i < 3; i++)
    words[i] = _mm512_or_si512(_mm512_srli_epi64(whole[i], 1), _mm512_slli_epi64(whole[i + 1], 63));
  words[3] = _mm512_or_si512(_mm512_srli_epi64(whole[3], 1), _mm512_set1_epi64(i64(1ull << 63)));
}

// A group's scalars by position: row k holds, over ceil(expanded / 64) words, the bits of position k.
class CombBits {
  const CombShape shape;
  const int halves, chunks;
  Array<V> rows;

 public:
  explicit CombBits(const CombShape& s)
      : shape(s), halves(s.t / 64), chunks((s.expanded() + 63) / 64), rows(size_t(halves) * chunks * 64) {}

  // words: [points][4] recoded scalars, lanes = columns.
  void set(const V* words) {
    for (int half = 0; half < halves; half++) {
      for (int chunk = 0; chunk < chunks; chunk++) {
        V* matrix = &rows[(half * chunks + chunk) * 64];
        for (int k = 0; k < 64; k++) {
          int e = 64 * chunk + k, tooth = e / shape.points, point = e % shape.points;
          matrix[k] = e < shape.expanded() ? words[4 * point + tooth * halves + half] : _mm512_setzero_si512();
        }
        transpose_bits(matrix);
      }
    }
  }

  // Bits start .. start + length - 1 of position k.
  CELLAR_HD V digit(int position, int start, int length) const {
    const V* row = &rows[(position / 64 * chunks + start / 64) * 64 + position % 64];
    int shift = start % 64;
    V bits = _mm512_srli_epi64(row[0], shift);
    if (shift + length > 64) bits = _mm512_or_si512(bits, _mm512_slli_epi64(row[64], 64 - shift));
    return _mm512_and_si512(bits, _mm512_set1_epi64((1ll << length) - 1));
  }
};

class CombTable {
 public:
  const CombShape shape;

 private:
  Array<u8> data;  // [column][entry] of packed points

 public:
  explicit CombTable(const CombShape& s) : shape(s), data(size_t(s.columns) * s.entries() * PACKED_POINT_BYTES) {}
  size_t bytes() const { return data.bytes(); }
  int groups() const { return shape.columns / LANES; }
  // The number of groups to a batch, and how many vectors of accumulators that makes.
  int groups_per_batch() const {
    int fit = shape.t < WALK_BATCH ? WALK_BATCH / shape.t : 1;
    return fit < groups() ? fit : groups();
  }

  // Fills the tables of group g from its points [points], lanes = columns. False if points collide.
  bool build(int group, const Affine<Fp>* points) {
    const int n = shape.expanded(), teeth = SCALAR_BITS / shape.t;
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

  // out[i] = the sums of group first + i, for `count` groups whose scalars are bits[i]; count is at most
  // groups_per_batch(), and acc has room for BATCH points. False if accumulators collide (impossible).
  bool multiply(Xyzz<Fp>* out, int first, int count, const CombBits* const* bits, Affine<Fp>* acc,
                BatchMemory& memory) const {
    const int n = count * shape.t;
    Walk walk(*this, first, bits);
    walk.start(n);
    for (int i = n - 1; i >= 0; i--) {
      Fp::Mask negate;
      acc[i].x = walk.x(i);
      walk.y(i, acc[i].y, negate);
      acc[i].y = Fp::cneg(negate, acc[i].y);
    }
    walk.fetch_all(n);
    for (int w = 1; w < shape.windows(); w++) {
      walk.advance();
      if (!accumulate(acc, n, walk, memory.get())) return false;
    }
    // The scalar r (that is: 0) makes the last addition meet the opposite point, and a crafted scalar may
    // make an earlier one do so: these additions are complete.
    for (int g = 0; g < count; g++) {
      const Affine<Fp>* position = acc + g * shape.t;
      Xyzz<Fp> sum = from_affine(position[shape.t - 1]);
      for (int k = shape.t - 2; k >= 0; k--) sum = madd(dbl(sum), position[k]);
      out[g] = sum;
    }
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

  // The source of accumulate: entries of the present window; prefetch finds and fetches those of the next.
  class Walk {
    struct Step {
      alignas(64) const u8* entries[BATCH][LANES];
      Fp::Mask negate[BATCH];
    };
    const CombTable& table;
    const CombBits* const* bits;
    const int first;
    int window = 0;
    Step steps[2];

    void find(Step& step, int i, int w) const {
      const CombShape& shape = table.shape;
      const int group = i / shape.t, length = shape.window_length(w);
      V digit = bits[group]->digit(i % shape.t, shape.window_start(w), length);
      const V all = _mm512_set1_epi64((1ll << length) - 1);
      __mmask8 negate = _mm512_testn_epi64_mask(digit, _mm512_set1_epi64(1ll << (length - 1)));
      digit = _mm512_mask_xor_epi64(digit, negate, digit, all);
      V index = _mm512_and_si512(digit, _mm512_srli_epi64(all, 1));
      V offset = _mm512_add_epi64(_mm512_slli_epi64(index, 6), _mm512_slli_epi64(index, 5));  // * 96
      const size_t column = size_t(table.shape.entries()) * PACKED_POINT_BYTES;
      const u8* base = &table.data[table.entry_offset((first + group) * LANES, shape.window_entry(w))];
      const V lane = _mm512_mullo_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(i64(column)));
      offset = _mm512_add_epi64(_mm512_add_epi64(offset, lane), _mm512_set1_epi64(i64(base)));
      _mm512_store_si512(step.entries[i], offset);
      step.negate[i] = negate;
    }

   public:
    Walk(const CombTable& t, int first_group, const CombBits* const* b) : table(t), bits(b), first(first_group) {}
    void start(int n) {
      for (int i = 0; i < n; i++) find(steps[0], i, 0), fetch(steps[0], i);
    }
    void fetch_all(int n) {
      for (int i = 0; i < n; i++) prefetch(i);
    }
    void advance() { window++; }

    CELLAR_HD Fp x(int i) const { return load_packed_x(steps[window & 1].entries[i]); }
    CELLAR_HD void y(int i, Fp& y, Fp::Mask& negate) const {
      y = load_packed_y(steps[window & 1].entries[i]);
      negate = steps[window & 1].negate[i];
    }
    CELLAR_HD void prefetch(int i) {
      if (window + 1 == table.shape.windows()) return;
      Step& next = steps[(window + 1) & 1];
      find(next, i, window + 1);
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
