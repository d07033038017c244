// Remainders of rows as scalars of the proofs' comb.
//
// A thread owns one scalar. rows: [.][128 cells][64]; words: [.][128 columns][64][8]. The plain integers `lower`, `upper`
// multiply those of cells 0..63 and 64..127: 1/2, which the convolution doubles, over the factor that they carry.
#include "recode.cuh"

namespace cellar {

CELLAR_KERNEL(recode_remainders, 256, 2, const Fr* rows, u32* words, int count, const Fr* lower, const Fr* upper) {
  each(count, [&](int i) {
    const int column = i / CELL_ELEMENTS % CELLS, cell = cell_of_column(column);
    const Fr& from = rows[(i / CELL_ELEMENTS / CELLS * CELLS + cell) * CELL_ELEMENTS + i % CELL_ELEMENTS];
    recode(Fr::mul(from, cell < CELLS / 2 ? *lower : *upper), words + i * FR_WORDS);
  });
}

}  // namespace cellar
