// Powers of two times points: the expanded points of a comb's columns, and their doubles.
//
// A thread owns one point. in: [columns][points]; single, twice: [columns][teeth][points], 2^(step tooth) and twice that;
// count: columns x points.
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(expand_points, 64, 4, const Xyzz<Fp>* in, Xyzz<Fp>* single, Xyzz<Fp>* twice, int points, int teeth,
              int step, int count) {
  each(count, [&](int i) {
    const int first = i / points * teeth * points + i % points;
    Xyzz<Fp> p = in[i];
    for (int tooth = 0; tooth < teeth; tooth++) {
      single[first + tooth * points] = p;
      p = dbl(p);
      twice[first + tooth * points] = p;
      for (int k = 1; k < step && tooth + 1 < teeth; k++) p = dbl(p);
    }
  });
}

}  // namespace cellar
