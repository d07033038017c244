// Points to affine coordinates; infinity becomes (0, 0), which is not on the curve.
//
// A thread owns the points i, i + threads, i + 2 threads, ... of `count`, and inverts once for all of them; the prefix
// products wait in the place of the results. failed: null, or set for the row (of `per_row` points) of any infinity.
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(normalise, 128, 3, const Xyzz<Fp>* in, Affine<Fp>* out, int count, int threads, int* failed,
              int per_row) {
  each(threads, [&](int first) {
    Fp product = Fp::one();
    int last = first;
    for (int i = first; i < count; i += threads) {
      out[i].x = product;
      const Fp zzz = in[i].zzz;
      if (!Fp::is_zero(zzz)) product = Fp::mul(product, zzz);
      last = i;
    }
    Fp inverse = Fp::inverse(product);
    for (int i = last; i >= first; i -= threads) {
      const Xyzz<Fp> p = in[i];
      if (Fp::is_zero(p.zzz)) {
        out[i] = {Fp::zero(), Fp::zero()};
        if (failed) failed[i / per_row] = 1;
        continue;
      }
      const Fp zzz_inverse = Fp::mul(inverse, out[i].x);
      inverse = Fp::mul(inverse, p.zzz);
      const Fp z_inverse = Fp::mul(p.zz, zzz_inverse);
      out[i] = {Fp::mul(p.x, Fp::sqr(z_inverse)), Fp::mul(p.y, zzz_inverse)};
    }
  });
}

}  // namespace cellar
