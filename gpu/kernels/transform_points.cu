// One level of the transform over points that makes the columns of FK20 (described in host/setup.hpp).
//
// A thread owns one butterfly: (x, y) to (x + zeta y, x - zeta y). values: [2 trees][64 nodes][inner]; tree k is at node k
// of its depth; roots: [64][8], zeta as integers; half: how far apart the pairs are; count: 64 x inner.
#include "multiply.cuh"

namespace cellar {

CELLAR_KERNEL(transform_points, 64, 4, Xyzz<Fp>* values, const u32* roots, int half, int inner, int count) {
  each(count, [&](int i) {
    const int tree = i / inner / 32, k = i / inner % 32, block = k / half;
    const int root = tree * (32 / half) + block;
    Xyzz<Fp>* x = values + (tree * 64 + 2 * half * block + k % half) * inner + i % inner;
    Xyzz<Fp>* y = x + half * inner;
    const Xyzz<Fp> t = root == 0 ? *y : multiply(*y, roots + root * FR_WORDS, 256);
    *y = add(*x, cneg(true, t));
    *x = add(*x, t);
  });
}

}  // namespace cellar
