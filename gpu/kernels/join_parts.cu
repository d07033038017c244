// Proofs from the convolution's parts: the reverse of the split, the inputs themselves, and the blinding's image off.
//
// A thread owns one proof. parts, u: [rows][128] by columns; a parity's parts make outputs of the other; image: null, or
// [128]; proofs: [rows][128] by cells; count: rows x 128. Complete: a proof may be infinity.
#include "convolution.cuh"

namespace cellar {

CELLAR_KERNEL(join_parts, 64, 4, const Xyzz<Fp>* parts, const Xyzz<Fp>* u, const Affine<Fp>* image, Xyzz<Fp>* proofs,
              int count) {
  each(count, [&](int i) {
    const int row = i / CELLS, column = i % CELLS, a = column % PARITY;
    const Xyzz<Fp>* from = parts + row * CELLS + (1 - column / PARITY) * PARITY;
    Xyzz<Fp> total = u[i];
    for (int first = 0, size = PARITY / 2; first < PARITY - 8; first += size, size /= 2)
      total = add(total, cneg(a / size % 2 == 1, from[first + a % size]));
    total = add(total, from[PARITY - 8 + a % 8]);
    if (image) total = madd(total, cneg(true, image[column]));
    proofs[row * CELLS + cell_of_column(column)] = total;
  });
}

}  // namespace cellar
