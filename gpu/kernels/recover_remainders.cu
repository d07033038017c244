// Remainders of lost cells, as fixed combinations of 64 known ones.
//
// A thread owns one coefficient of one lost cell. rows: [.][128][64]; known: the 64 cells to combine; lost: `per_row`
// cells; matrix: [per_row][64], Lagrange's coefficients in Montgomery form; count: rows x per_row x 64.
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(recover_remainders, 256, 2, Fr* rows, const int* known, const int* lost, int per_row, const Fr* matrix,
              int count) {
  each(count, [&](int i) {
    const int coefficient = i % CELL_ELEMENTS, m = i / CELL_ELEMENTS % per_row;
    Fr* row = rows + i / CELL_ELEMENTS / per_row * CELLS * CELL_ELEMENTS + coefficient;
    Fr sum = Fr::zero();
    for (int k = 0; k < CELLS / 2; k++)
      sum = Fr::add(sum, Fr::mul(row[known[k] * CELL_ELEMENTS], matrix[m * (CELLS / 2) + k]));
    row[lost[m] * CELL_ELEMENTS] = sum;
  });
}

}  // namespace cellar
