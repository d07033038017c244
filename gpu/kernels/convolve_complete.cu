// The convolution of the parts for any points, infinity and equal ones too: each constant bit by bit.
//
// A thread owns one output. parts, out: [count]; digits as of `convolve`. Slow: for rows that `convolve` failed.
#include "convolution.cuh"

namespace cellar {

CELLAR_KERNEL(convolve_complete, 64, 4, const Xyzz<Fp>* parts, const i16* digits, Xyzz<Fp>* out, int count) {
  each(count, [&](int i) {
    const int slot = i % PARITY, parity = i / PARITY % 2;
    const Part part = part_of_slot(slot);
    const Xyzz<Fp>* inputs = parts + i / PARITY * PARITY + part.first;
    const Fp beta = Fp::constant(Curve::beta);
    Xyzz<Fp> total = infinity<Fp>();
    for (int bit = DIGITS * DIGIT_BITS - 1; bit >= 0; bit--) {
      total = dbl(total);
      for (int tap = 0; tap < part.size; tap++) {
        const int from = slot - part.first - tap;
        const bool wrapped = from < 0;
        for (int half = 0; half < HALVES; half++) {
          const int d = digits[((parity * PARITY + part.first + tap) * HALVES + half) * DIGITS + bit / DIGIT_BITS];
          const bool plus = (d + (1 << DIGIT_BITS) - 1) / 2 >> (bit % DIGIT_BITS) & 1;
          Xyzz<Fp> input = inputs[wrapped ? from + part.size : from];
          if (half) input.x = Fp::mul(input.x, beta);
          total = add(total, cneg(plus == (wrapped && !part.cyclic), input));
        }
      }
    }
    out[i] = total;
  });
}

}  // namespace cellar
