// Any scalar times any point.
#pragma once
#include "launch.cuh"

namespace cellar {

// [s] p for s < 2^bits in little-endian words, `bits` a multiple of 4: windows of 4 bits. Complete.
CELLAR_HD Xyzz<Fp> multiply(const Xyzz<Fp>& p, const u32* scalar, int bits) {
  Xyzz<Fp> multiple[15];
  multiple[0] = p;
  for (int k = 1; k < 15; k++) multiple[k] = add(multiple[k - 1], p);
  Xyzz<Fp> total = infinity<Fp>();
  for (int at = bits - 4; at >= 0; at -= 4) {
    for (int k = 0; k < 4; k++) total = dbl(total);
    const u32 digit = scalar[at / 32] >> (at % 32) & 15;
    if (digit) total = add(total, multiple[digit - 1]);
  }
  return total;
}

}  // namespace cellar
