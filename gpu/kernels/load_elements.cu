// Elements from bytes, into Montgomery form times a constant.
//
// A thread owns one element. bytes: [cells][64][8] words, `per_row` cells to a row; rows: [.][128][64], where cell k of
// a row goes to place[k]. factor: R^2 times the constant. Sets *invalid if an element is >= r.
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(load_elements, 256, 2, const u32* bytes, Fr* rows, const int* place, int per_row, int count,
              const Fr* factor, int* invalid) {
  each(count, [&](int i) {
    const int cell = i / CELL_ELEMENTS, row = cell / per_row;
    const Fr integer = load_big_endian<Fr, FR_WORDS>(bytes + i * FR_WORDS);
    if (!below_modulus(integer)) *invalid = 1;
    rows[(row * CELLS + place[cell % per_row]) * CELL_ELEMENTS + i % CELL_ELEMENTS] = Fr::mul(integer, *factor);
  });
}

}  // namespace cellar
