// Remainders of cells 64..127, times 64, from those of cells 0..63: the Reed-Solomon extension.
//
// A block owns 8 of a row's 64 coefficients, 32 threads each. rows: [.][128][64]; 8 blocks to a row.
#include "cell_tree.cuh"

namespace cellar {

CELLAR_KERNEL(extend_remainders, 256, 2, Fr* rows, const Fr* zeta, const Fr* zeta_inverse) {
  CELLAR_SHARED(Fr, shared, TREES* CELL_ELEMENTS);
  const auto coefficient = [&](int tree) {
    const int i = block_index() * TREES + tree;
    return rows + i / CELL_ELEMENTS * CELLS * CELL_ELEMENTS + i % CELL_ELEMENTS;
  };
  // Neighbouring threads take neighbouring coefficients: 256 bytes at a time.
  phase([&](int thread) {
    const Fr* from = coefficient(thread % TREES);
    Fr* to = shared + thread % TREES * CELL_ELEMENTS;
    for (int cell = thread / TREES; cell < CELLS / 2; cell += TREE_THREADS) to[cell] = from[cell * CELL_ELEMENTS];
  });
  trees_up(shared, zeta_inverse, [](int) { return 0; });
  trees_down(shared, zeta, [](int) { return 1; });
  phase([&](int thread) {
    Fr* to = coefficient(thread % TREES) + CELLS / 2 * CELL_ELEMENTS;
    const Fr* from = shared + thread % TREES * CELL_ELEMENTS;
    for (int cell = thread / TREES; cell < CELLS / 2; cell += TREE_THREADS) to[cell * CELL_ELEMENTS] = from[cell];
  });
}

}  // namespace cellar
