// A scalar as the comb reads it (comb.cuh): the bits of (s >> 1) + 2^255, for s made odd.
#pragma once
#include "launch.cuh"

namespace cellar {

CELLAR_HD void recode(const Fr& canonical, u32* words) {
  const bool even = (word32(canonical, 0) & 1) == 0;
  u32 odd[FR_WORDS];
  u64 carry = 0;
  for (int i = 0; i < FR_WORDS; i++) {
    carry += u64(word32(canonical, i)) + (even ? FrWords32::modulus(i) : 0);
    odd[i] = u32(carry);
    carry >>= 32;
  }
  for (int i = 0; i < FR_WORDS - 1; i++) words[i] = odd[i] >> 1 | odd[i + 1] << 31;
  words[FR_WORDS - 1] = odd[FR_WORDS - 1] >> 1 | 1u << 31;
}

}  // namespace cellar
