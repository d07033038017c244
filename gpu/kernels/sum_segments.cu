// Sums of runs of points.
//
// A thread owns one run: points start[i] .. start[i + 1] - 1, none if the two are equal. out: [count]. Complete.
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(sum_segments, 64, 4, const Xyzz<Fp>* in, const int* start, Xyzz<Fp>* out, int count) {
  each(count, [&](int i) {
    Xyzz<Fp> sum = infinity<Fp>();
    for (int k = start[i]; k < start[i + 1]; k++) sum = add(sum, in[k]);
    out[i] = sum;
  });
}

}  // namespace cellar
