// The comb: for each position of each column of each row, the sum of one table entry from each window.
//
// A thread owns one sum, in registers. Threads run over positions, then rows, then columns: the rows of a batch
// meet the same part of the table together. table: [columns][entries]; bits: [rows][columns][t][chunks] as of comb_bits;
// sums: [rows][columns][t].
//
// The additions are incomplete: sums of the setup's points never meet. Where they do, *failed is set for the row.
#include "comb.cuh"
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(comb_sums, 128, 3, const Affine<Fp>* __restrict__ table, const u32* __restrict__ bits, Xyzz<Fp>* sums,
              int columns, int points, int t, int b, int rows, int* failed) {
  each(rows * columns * t, [&](int i) {
    const CombShape shape{columns, points, t, b};
    const int position = i % t, row = i / t % rows, column = i / t / rows, chunks = (shape.expanded() + 31) / 32;
    const int out = (row * columns + column) * t + position;
    const u32* word = bits + out * chunks;
    const Affine<Fp>* entries = table + column * shape.entries();
    const int windows = shape.windows();
    const auto next = [&](int window) {
      const int start = shape.window_start(window), length = shape.window_length(window), shift = start % 32;
      u64 pair = word[start / 32];
      if (shift + length > 32) pair |= u64(word[start / 32 + 1]) << 32;
      u32 digit = u32(pair >> shift) & ((1u << length) - 1);
      const bool negate = (digit >> (length - 1)) == 0;
      if (negate) digit ^= (1u << length) - 1;
      const Affine<Fp>& entry = entries[shape.window_entry(window) + int(digit & ((1u << (length - 1)) - 1))];
      return cneg(negate, entry);
    };
    Xyzz<Fp> sum = from_affine(next(0));
    for (int window = 1; window < windows; window++) sum = madd<false>(sum, next(window));
    if (is_infinity(sum)) failed[row] = 1;
    sums[out] = sum;
  });
}

}  // namespace cellar
