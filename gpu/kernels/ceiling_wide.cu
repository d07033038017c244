// How fast the device multiplies: only 32 x 32 + 64 bit multiplies, for benchmarks.
//
// A thread makes 16 x `rounds` of them in 16 independent chains. out: [count], so that nothing is optimised away.
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(ceiling_wide, 128, 8, u32* out, int rounds, int count) {
  each(count, [&](int i) {
    u64 chain[16];
    CELLAR_UNROLL_ALL for (int k = 0; k < 16; k++) chain[k] = u64(i) * 16 + k;
    const u32 factor = u32(i) | 1;
    for (int round = 0; round < rounds; round++)
      CELLAR_UNROLL_ALL for (int k = 0; k < 16; k++) chain[k] = u64(u32(chain[k])) * factor + chain[(k + 1) % 16];
    u64 sum = 0;
    CELLAR_UNROLL_ALL for (int k = 0; k < 16; k++) sum += chain[k];
    out[i] = u32(sum ^ sum >> 32);
  });
}

}  // namespace cellar
