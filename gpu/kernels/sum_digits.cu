// The digit places of the convolution's sums put together, and the endomorphism applied to the second halves.
//
// A thread owns one output. sums: [count][2 halves][16 digits]; out: [count]. Complete.
#include "convolution.cuh"

namespace cellar {

CELLAR_KERNEL(sum_digits, 64, 4, const Xyzz<Fp>* sums, Xyzz<Fp>* out, int count) {
  each(count, [&](int i) {
    const Fp beta = Fp::constant(Curve::beta);
    Xyzz<Fp> total = infinity<Fp>();
    for (int digit = DIGITS - 1; digit >= 0; digit--) {
      for (int k = 0; k < DIGIT_BITS; k++) total = dbl(total);
      for (int half = 0; half < HALVES; half++) {
        Xyzz<Fp> sum = sums[i * SUMS + half * DIGITS + digit];
        if (half) sum.x = Fp::mul(sum.x, beta);
        total = add(total, sum);
      }
    }
    out[i] = total;
  });
}

}  // namespace cellar
