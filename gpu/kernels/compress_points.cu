// Affine points (infinity: (0, 0)) to 48 bytes each.
//
// A thread owns one point. in: [count]; bytes: [count][12] words.
#include "codec.cuh"
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(compress_points, 128, 3, const Affine<Fp>* in, u32* bytes, int count) {
  each(count, [&](int i) {
    const Affine<Fp> p = in[i];
    u32* out = bytes + i * FP_WORDS;
    if (Fp::is_zero(p.x) && Fp::is_zero(p.y)) {
      for (int k = 0; k < FP_WORDS; k++) out[k] = 0;
      out[0] = u32(FLAG_COMPRESSED | FLAG_INFINITY);
      return;
    }
    store_big_endian<FP_WORDS>(out, Fp::from_montgomery(p.x));
    out[0] |= FLAG_COMPRESSED;
    if (is_larger(Fp::from_montgomery(p.y))) out[0] |= FLAG_LARGER_Y;
  });
}

}  // namespace cellar
