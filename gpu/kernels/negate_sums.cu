// Coefficients summed over all columns, negated, as integers to multiply points with.
//
// A thread owns one coefficient. in: [128][64], Montgomery form; words: [64][8].
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(negate_sums, 64, 4, const Fr* in, u32* words) {
  each(CELL_ELEMENTS, [&](int i) {
    Fr sum = Fr::zero();
    for (int column = 0; column < CELLS; column++) sum = Fr::add(sum, in[column * CELL_ELEMENTS + i]);
    const Fr integer = Fr::from_montgomery(Fr::neg(sum));
    for (int w = 0; w < FR_WORDS; w++) words[i * FR_WORDS + w] = word32(integer, w);
  });
}

}  // namespace cellar
