// The entries of a comb's tables (comb.cuh): all signed sums of a window's points whose last sign is +.
//
// A thread owns `run` neighbouring entries (a power of two that divides every window's): it makes the first from the
// window's points, then walks the others in Gray's order, in which one sign changes at a time. single, twice:
// [columns][expanded]; entries: [columns][shape.entries()]; count: runs in all. Incomplete additions: a point at
// infinity comes out where points of a column are not independent.
#include "comb.cuh"
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(comb_entries, 128, 3, const Affine<Fp>* single, const Affine<Fp>* twice, Xyzz<Fp>* entries, int expanded,
              int b, int run, int count) {
  each(count, [&](int i) {
    const CombShape shape{1, expanded, SCALAR_BITS, b};
    const int runs = shape.entries() / run, column = i / runs, first = i % runs * run;
    int window = 0;
    while (shape.window_entry(window + 1) <= first) window++;
    const int free_signs = shape.window_length(window) - 1, pattern = first - shape.window_entry(window);
    const int start = column * expanded + shape.window_start(window);
    Xyzz<Fp> sum = from_affine(single[start + free_signs]);
    for (int k = 0; k < free_signs; k++) sum = madd<false>(sum, cneg((pattern >> k & 1) == 0, single[start + k]));
    Xyzz<Fp>* out = entries + column * shape.entries() + first;
    out[0] = sum;
    int gray = 0;
    for (int step = 1; step < run; step++) {
      int k = 0;
      while ((step >> k & 1) == 0) k++;
      gray ^= 1 << k;
      sum = madd<false>(sum, cneg((gray >> k & 1) == 0, twice[start + k]));
      out[gray] = sum;
    }
  });
}

}  // namespace cellar
