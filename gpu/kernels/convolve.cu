// The convolution's products: for each output and digit place, the sum over all taps of one multiple of an input.
//
// A thread owns one sum, in registers. Threads run over a part's outputs, then over digit places and parities: the
// digits are the same for all outputs of a part. multiples: [rows][128][128], the odd multiples of the parts' inputs;
// digits: [2][64 taps][32], gpu.convolution; sums: [rows][128][32]; count: rows x 4096.
//
// The additions are incomplete: the inputs are blinded, so none can be made to fail. If one does, *failed is set.
#include "convolution.cuh"

namespace cellar {

CELLAR_KERNEL(convolve, 128, 3, const Affine<Fp>* __restrict__ multiples, const i16* __restrict__ digits,
              Xyzz<Fp>* sums, int count, int* failed) {
  each(count, [&](int i) {
    const int row = i / (CELLS * SUMS), k = i % (CELLS * SUMS);
    // Parts one after the other: 2 x 32 digit places x 32 outputs, then x 16, x 8 and x 8.
    const Part part = part_of_slot(k / (2 * SUMS));
    const int rest = k - 2 * SUMS * part.first;
    const int output = rest % part.size, sum = rest / part.size % SUMS, parity = rest / part.size / SUMS;
    const int first = (row * 2 + parity) * PARITY + part.first;
    const i16* digit = digits + (parity * PARITY + part.first) * SUMS + sum;
    const auto product = [&](int tap) {
      const int d = digit[tap * SUMS], input = output < tap ? output - tap + part.size : output - tap;
      const bool negate = (d < 0) != (output < tap && !part.cyclic);
      return cneg(negate, multiples[(first + input) * MULTIPLES + (d < 0 ? -d : d) / 2]);
    };
    Xyzz<Fp> total = from_affine(product(0));
    for (int tap = 1; tap < part.size; tap++) total = madd<false>(total, product(tap));
    if (is_infinity(total)) failed[row] = 1;
    sums[(first + output) * SUMS + sum] = total;
  });
}

}  // namespace cellar
