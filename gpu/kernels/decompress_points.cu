// Points from 48 bytes each, strictly (codec.cuh).
//
// A thread owns one point. bytes: [count][12] words; out: [count]. bad[i] is set where the bytes are not the encoding of
// a point of the curve, or, with `check_subgroup`, of a point of G1.
#include "codec.cuh"
#include "launch.cuh"

namespace cellar {

CELLAR_KERNEL(decompress_points, 64, 4, const u32* bytes, Xyzz<Fp>* out, int* bad, int check_subgroup, int count) {
  each(count, [&](int i) {
    u32 words[FP_WORDS];
    for (int k = 0; k < FP_WORDS; k++) words[k] = bytes[i * FP_WORDS + k];
    const u32 flags = words[0] & FLAGS;
    words[0] &= ~u32(FLAGS);
    const Fp x = load_big_endian<Fp, FP_WORDS>(words);
    out[i] = infinity<Fp>();
    bad[i] = 0;
    if (flags & FLAG_INFINITY) {
      if (flags != (FLAG_COMPRESSED | FLAG_INFINITY) || !Fp::is_zero(x)) bad[i] = 1;
      return;
    }
    Affine<Fp> p;
    p.x = Fp::to_montgomery(x);
    if (!(flags & FLAG_COMPRESSED) || !below_modulus(x) || !solve_y(p.x, p.y)) {
      bad[i] = 1;
      return;
    }
    p.y = Fp::cneg(is_larger(Fp::from_montgomery(p.y)) != ((flags & FLAG_LARGER_Y) != 0), p.y);
    if (check_subgroup && !in_subgroup(p)) bad[i] = 1;
    out[i] = from_affine(p);
  });
}

}  // namespace cellar
