// Rows as fixed combinations of rows: the cells of parity rows from those of the data rows.
//
// A thread owns one element of one result. cells: [rows][per_row][8] big-endian words, `per_row` elements of each row;
// weights: [.][rows] in Montgomery form, so that products with integers are integers; out: [.][per_row][8]; count: results
// x per_row. Sets *invalid if an element is >= r.
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(combine_rows, 256, 2, const u32* cells, const Fr* weights, u32* out, int rows, int per_row, int count,
              int* invalid) {
  each(count, [&](int i) {
    const Fr* weight = weights + i / per_row * rows;
    Fr sum = Fr::zero();
    for (int row = 0; row < rows; row++) {
      const Fr integer = load_big_endian<Fr, FR_WORDS>(cells + (row * per_row + i % per_row) * FR_WORDS);
      if (!below_modulus(integer)) *invalid = 1;
      sum = Fr::add(sum, Fr::mul(integer, weight[row]));
    }
    store_big_endian<FR_WORDS>(out + i * FR_WORDS, sum);
  });
}

}  // namespace cellar
