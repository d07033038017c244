// Scalars times points.
//
// A thread owns one product. in: [points], which repeat; out: [count]; scalars: [count][8] words, below 2^bits. Complete.
#include "multiply.cuh"

namespace cellar {

CELLAR_KERNEL(multiply_points, 64, 4, const Xyzz<Fp>* in, const u32* scalars, Xyzz<Fp>* out, int bits, int points,
              int count) {
  each(count, [&](int i) { out[i] = multiply(in[i % points], scalars + i * FR_WORDS, bits); });
}

}  // namespace cellar
