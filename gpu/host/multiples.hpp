// Batches of affine additions, and the odd multiples of points that digits choose from.
#pragma once
#include "accumulate.cuh"
#include "lanes.hpp"
#include "memory.hpp"

namespace cellar {

constexpr int BATCH = 256;  // vectors to one inversion: 512 KiB of accumulators and scratch, within L2

struct BatchMemory {
  Array<Fp> difference{BATCH}, prefix{BATCH};
  Batch<Fp> get() { return {difference.get(), prefix.get()}; }
};

// The lanes added up; the sum is in every lane.
inline Xyzz<Fp> sum_of_lanes(Xyzz<Fp> p) {
  for (int distance = 1; distance < Fp::COUNT; distance *= 2) {
    __m512i index = _mm512_xor_si512(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(distance));
    p = add(p, {Fp::permute(p.x, index), Fp::permute(p.y, index), Fp::permute(p.zz, index), Fp::permute(p.zzz, index)});
  }
  return p;
}

// Lane l of the result is the sum of the lanes of p[l]: at each step two vectors become one, whose lanes take
// turns in belonging to either.
inline Xyzz<Fp> sums_of_lanes(Xyzz<Fp>* p) {
  const __m512i lanes = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
  for (int distance = 1; distance < Fp::COUNT; distance *= 2) {
    const __m512i index = _mm512_xor_si512(lanes, _mm512_set1_epi64(distance));
    const Fp::Mask second = _mm512_test_epi64_mask(lanes, _mm512_set1_epi64(distance));
    for (int i = 0; i < Fp::COUNT; i += 2 * distance) {
      const auto moved = [&](const Xyzz<Fp>& q) {
        return Xyzz<Fp>{Fp::permute(q.x, index), Fp::permute(q.y, index), Fp::permute(q.zz, index),
                        Fp::permute(q.zzz, index)};
      };
      const Xyzz<Fp>&a = p[i], &b = p[i + distance];
      p[i] = add(select(second, b, a), select(second, moved(b), moved(a)));
    }
  }
  return p[0];
}

struct PowerMemory {
  Array<Xyzz<Fp>> walk;
  Array<Affine<Fp>> power;
  Array<Fp> scratch;
  BatchMemory batch;
  PowerMemory(int vectors, int levels)
      : walk(size_t(vectors) * levels), power(size_t(vectors) * levels), scratch(size_t(vectors) * levels) {}
};

// multiple[k * n + v] = (2k + 1) point[v] for k < 2^levels, v < n <= BATCH. The table doubles at each level:
// (2(k + 2^j) + 1) P = (2k + 1) P + 2^(j+1) P. No two of these are equal for points of a large order; false
// if some are.
inline bool odd_multiples(Affine<Fp>* multiple, const Affine<Fp>* point, int n, int levels, PowerMemory& m) {
  struct PowerSource {
    const Affine<Fp>* power;
    int n;
    CELLAR_HD Fp x(int i) const { return power[i % n].x; }
    CELLAR_HD void y(int i, Fp& y, Fp::Mask& negate) const { y = power[i % n].y, negate = 0; }
    CELLAR_HD void prefetch(int) const {}
  };
  const int batch = BATCH / n * n;
  for (int v = 0; v < n; v++) m.walk[v] = dbl(from_affine(point[v]));
  for (int i = n; i < levels * n; i++) m.walk[i] = dbl(m.walk[i - n]);
  to_affine(m.power.get(), m.walk.get(), levels * n, m.scratch.get(), static_cast<Fp::Mask*>(nullptr));
  for (int v = 0; v < n; v++) multiple[v] = point[v];
  for (int level = 0; level < levels; level++) {
    const int count = n << level;
    for (int i = 0; i < count; i++) multiple[count + i] = multiple[i];
    for (int i = 0; i < count; i += batch) {
      PowerSource source{&m.power[level * n], n};
      if (!accumulate(&multiple[count + i], count - i < batch ? count - i : batch, source, m.batch.get())) return false;
    }
  }
  return true;
}

}  // namespace cellar
