// The elements of rows as scalars of the commitments' comb.
//
// A thread owns one element. bytes: [rows][4096][8] big-endian words; words: the same, recoded. Sets *invalid if an
// element is >= r.
#include "recode.cuh"

namespace cellar {

CELLAR_KERNEL(recode_blobs, 256, 2, const u32* bytes, u32* words, int count, int* invalid) {
  each(count, [&](int i) {
    const Fr integer = load_big_endian<Fr, FR_WORDS>(bytes + i * FR_WORDS);
    if (!below_modulus(integer)) *invalid = 1;
    recode(integer, words + i * FR_WORDS);
  });
}

}  // namespace cellar
