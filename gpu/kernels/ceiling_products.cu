// How fast the device multiplies in the base field: one chain of products to a thread, for benchmarks.
//
// values: [count], raised step by step to `rounds` products each.
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(ceiling_products, 128, 4, Fp* values, int rounds, int count) {
  each(count, [&](int i) {
    const Fp factor = values[i];
    Fp product = factor;
    for (int round = 0; round < rounds; round++) product = Fp::mul(product, factor);
    values[i] = product;
  });
}

}  // namespace cellar
