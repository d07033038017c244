// The bytes of cells from their remainders.
//
// A block owns 8 cells, 32 threads each. rows: [.][128][64]; of each row the `per_row` cells at place[], `count` in all;
// bytes: [count][64][8] words. scale: a plain integer that takes off the factor the remainders carry.
#include "cell_tree.cuh"

namespace cellar {

CELLAR_KERNEL(evaluate_cells, 256, 2, const Fr* rows, const int* place, int per_row, int count, const Fr* zeta,
              const Fr* scale, u32* bytes) {
  CELLAR_SHARED(Fr, shared, TREES* CELL_ELEMENTS);
  const int first = block_index() * TREES;
  const auto cell_of = [&](int tree) {
    const int i = first + tree < count ? first + tree : count - 1;
    return i / per_row * CELLS + place[i % per_row];
  };
  phase([&](int thread) {
    const Fr* from = rows + cell_of(thread / TREE_THREADS) * CELL_ELEMENTS + thread % TREE_THREADS;
    Fr* to = shared + thread / TREE_THREADS * CELL_ELEMENTS + thread % TREE_THREADS;
    to[0] = from[0], to[TREE_THREADS] = from[TREE_THREADS];
  });
  trees_down(shared, zeta, [&](int tree) { return cell_of(tree) % CELLS; });
  phase([&](int thread) {
    const int i = first + thread / TREE_THREADS;
    if (i >= count) return;
    for (int k = thread % TREE_THREADS; k < CELL_ELEMENTS; k += TREE_THREADS) {
      const Fr integer = Fr::mul(shared[thread / TREE_THREADS * CELL_ELEMENTS + k], *scale);
      store_big_endian<FR_WORDS>(bytes + (i * CELL_ELEMENTS + k) * FR_WORDS, integer);
    }
  });
}

}  // namespace cellar
