// Recoded scalars, turned over: for each position of the comb, the bits of its expanded points.
//
// A thread owns 32 bits. words: [columns of all rows][points][8]; bits: [columns of all rows][t][chunks] words, where bit
// e % 32 of word e / 32 belongs to expanded point e (comb.cuh); count: all words of `bits`.
#include "comb.cuh"
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(comb_bits, 256, 2, const u32* words, u32* bits, int points, int t, int count) {
  each(count, [&](int i) {
    const CombShape shape{1, points, t, 1};
    const int chunks = (shape.expanded() + 31) / 32, chunk = i % chunks, position = i / chunks % t;
    const u32* column = words + i / chunks / t * points * FR_WORDS;
    u32 out = 0;
    for (int k = 0; k < 32 && 32 * chunk + k < shape.expanded(); k++) {
      const int e = 32 * chunk + k, bit = e / points * t + position;
      out |= (column[e % points * FR_WORDS + bit / 32] >> (bit % 32) & 1) << k;
    }
    bits[i] = out;
  });
}

}  // namespace cellar
