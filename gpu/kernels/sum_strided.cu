// Sums of points that stand at equal distances.
//
// A thread owns one sum. in: [outer][size][inner]; out: [outer][inner]; count: outer x inner. Complete.
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(sum_strided, 64, 4, const Xyzz<Fp>* in, Xyzz<Fp>* out, int size, int inner, int count) {
  each(count, [&](int i) {
    const Xyzz<Fp>* from = in + i / inner * size * inner + i % inner;
    Xyzz<Fp> sum = from[0];
    for (int k = 1; k < size; k++) sum = add(sum, from[k * inner]);
    out[i] = sum;
  });
}

}  // namespace cellar
