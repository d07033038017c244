// Random combinations of cells, column by column.
//
// A thread owns one element of one column: the sum of factor k times that element of cell k, over the column's cells.
// cells: [.][64][8] big-endian words, sorted by column; start: [129], a column's first cell; factors: [.][8], integers;
// factor: R^3 / 64, which makes products of two integers values in Montgomery form, divided by 64; out: [128][64].
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(combine_cells, 128, 3, const u32* cells, const int* start, const u32* factors, const Fr* factor, Fr* out,
              int* invalid) {
  each(CELLS * CELL_ELEMENTS, [&](int i) {
    Fr sum = Fr::zero();
    for (int k = start[i / CELL_ELEMENTS]; k < start[i / CELL_ELEMENTS + 1]; k++) {
      const Fr integer = load_big_endian<Fr, FR_WORDS>(cells + (k * CELL_ELEMENTS + i % CELL_ELEMENTS) * FR_WORDS);
      if (!below_modulus(integer)) *invalid = 1;
      Fr weight = Fr::zero();
      for (int w = 0; w < FR_WORDS; w++) set_word32(weight, w, factors[k * FR_WORDS + w]);
      sum = Fr::add(sum, Fr::mul(integer, weight));
    }
    out[i] = Fr::mul(sum, *factor);
  });
}

}  // namespace cellar
