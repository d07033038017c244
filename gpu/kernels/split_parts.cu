// The inputs of the convolution's parts.
//
// A thread owns one input: with n the part's size, the sum of u[i], u[i + n], ... , every other one negated in negacyclic
// parts. u, parts: [rows][2 parities][64]; count: rows x 128. Complete.
#include "convolution.cuh"

namespace cellar {

CELLAR_KERNEL(split_parts, 64, 4, const Xyzz<Fp>* u, Xyzz<Fp>* parts, int count) {
  each(count, [&](int i) {
    const Part part = part_of_slot(i % PARITY);
    const Xyzz<Fp>* from = u + i / PARITY * PARITY + (i % PARITY - part.first);
    Xyzz<Fp> sum = from[0];
    for (int k = 1; k * part.size < PARITY; k++)
      sum = add(sum, cneg(!part.cyclic && k % 2 == 1, from[k * part.size]));
    parts[i] = sum;
  });
}

}  // namespace cellar
