// Values of cells (divided by 64) to their remainders, in place.
//
// A block owns 8 cells, 32 threads each. rows: [.][128][64]; of each row the `per_row` cells at place[]; `count` cells
// in all. zeta_inverse: [4096], Montgomery form.
#include "cell_tree.cuh"

namespace cellar {

CELLAR_KERNEL(interpolate_cells, 256, 2, Fr* rows, const int* place, int per_row, int count, const Fr* zeta_inverse) {
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
  trees_up(shared, zeta_inverse, [&](int tree) { return cell_of(tree) % CELLS; });
  phase([&](int thread) {
    if (first + thread / TREE_THREADS >= count) return;
    Fr* to = rows + cell_of(thread / TREE_THREADS) * CELL_ELEMENTS + thread % TREE_THREADS;
    const Fr* from = shared + thread / TREE_THREADS * CELL_ELEMENTS + thread % TREE_THREADS;
    to[0] = from[0], to[TREE_THREADS] = from[TREE_THREADS];
  });
}

}  // namespace cellar
