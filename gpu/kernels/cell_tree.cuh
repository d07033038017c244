// The 64-point transforms (ntt.cuh) of a block: 8 trees of 64 elements in shared memory, 32 threads to a tree.
//
// A thread does one butterfly of each level; the levels are phases. Trees beyond the last are computed on what is
// there and not stored.
#pragma once
#include "launch.cuh"
#include "ntt.cuh"

namespace cellar {

constexpr int TREES = 8, TREE_THREADS = CELL_ELEMENTS / 2;

// Remainders at a node to the values below it. node(tree) is the tree's node at its top.
template <class Node>
CELLAR_HD void trees_down(Fr* shared, const Fr* zeta, const Node& node) {
  for (int half = CELL_ELEMENTS / 2, nodes = 1; half > 0; half /= 2, nodes *= 2) {
    phase([&](int thread) {
      const int tree = thread / TREE_THREADS, i = thread % TREE_THREADS, block = i / half;
      Fr* a = shared + tree * CELL_ELEMENTS + 2 * half * block + i % half;
      split(a[0], a[half], zeta[node(tree) * nodes + block]);
    });
  }
}

// 64 times the way back.
template <class Node>
CELLAR_HD void trees_up(Fr* shared, const Fr* zeta_inverse, const Node& node) {
  for (int half = 1, nodes = CELL_ELEMENTS / 2; half < CELL_ELEMENTS; half *= 2, nodes /= 2) {
    phase([&](int thread) {
      const int tree = thread / TREE_THREADS, i = thread % TREE_THREADS, block = i / half;
      Fr* a = shared + tree * CELL_ELEMENTS + 2 * half * block + i % half;
      join(a[0], a[half], zeta_inverse[node(tree) * nodes + block]);
    });
  }
}

}  // namespace cellar
