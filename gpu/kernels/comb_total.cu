// Horner's rule over the positions of the comb: sum of 2^k sums[k].
//
// A thread owns one total. sums: [count][t]; totals: [count]; blinding: null, or [columns] points to be added. Complete:
// the scalar r (that is: 0) makes the last addition meet the opposite point.
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(comb_total, 64, 4, const Xyzz<Fp>* sums, Xyzz<Fp>* totals, int t, int count, const Affine<Fp>* blinding,
              int columns) {
  each(count, [&](int i) {
    const Xyzz<Fp>* position = sums + i * t;
    Xyzz<Fp> total = position[t - 1];
    for (int k = t - 2; k >= 0; k--) total = add(dbl(total), position[k]);
    if (blinding) total = madd(total, blinding[i % columns]);
    totals[i] = total;
  });
}

}  // namespace cellar
