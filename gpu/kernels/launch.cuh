// How a kernel is written once and run by CUDA, or block by block by a test on the host.
//
// A kernel states its name, threads to a block and blocks to a multiprocessor, and holds only `each` and `phase`:
//
//   each(count, f)   f(i) for i < count, one thread to an index; no order, no sharing
//   phase(f)         f(thread) for every thread of the block, then a barrier; nothing but shared memory passes from
//                    one phase to the next, so a loop over the threads runs it as well
//
// On the host a kernel is a function that does one block, whose number is `cellar_block`. The field is the thread's
// words32.cuh on a device (and in a host build with -DPTX_EMU), the plain words of words.cuh in other host builds:
// in memory both look the same.
#pragma once
#include "constants.cuh"
#include "group.cuh"
#include "carry.cuh"

#if defined(__CUDACC__) || defined(PTX_EMU)
#include "words32.cuh"
namespace cellar {
using Fp = Words32<FpWords32>;
using Fr = Words32<FrWords32>;
}  // namespace cellar
#else
#include "words.cuh"
namespace cellar {
using Fp = Words<FpWords64>;
using Fr = Words<FrWords64>;
}  // namespace cellar
#endif

#ifdef __CUDACC__
#define CELLAR_KERNEL(name, threads, blocks, ...) \
  extern "C" __global__ void __launch_bounds__(threads, blocks) name(__VA_ARGS__)
#define CELLAR_SHARED(type, name, count) __shared__ type name[count]
#else
#define CELLAR_KERNEL(name, threads, blocks, ...) \
  extern "C" __attribute__((visibility("default"))) void name(__VA_ARGS__)
#define CELLAR_SHARED(type, name, count) static thread_local type name[count]
namespace cellar {
struct HostBlock {
  int index, threads;  // a power of two threads
  int first, step;     // the threads run in the order first, first + step, ..., modulo their number; step is odd
  int thread(int k) const { return (first + k * step) & (threads - 1); }
};
inline thread_local HostBlock host_block{0, 1, 0, 1};
}  // namespace cellar
#endif

namespace cellar {

#ifdef __CUDACC__
__device__ __forceinline__ int block_index() { return int(blockIdx.x); }
template <class Body>
__device__ __forceinline__ void phase(const Body& body) {
  body(int(threadIdx.x));
  __syncthreads();
}
template <class Body>
__device__ __forceinline__ void each(int count, const Body& body) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) body(i);
}
#else
inline int block_index() { return host_block.index; }
template <class Body>
void phase(const Body& body) {
  for (int k = 0; k < host_block.threads; k++) body(host_block.thread(k));
}
template <class Body>
void each(int count, const Body& body) {
  for (int k = 0; k < host_block.threads; k++) {
    const int i = host_block.index * host_block.threads + host_block.thread(k);
    if (i < count) body(i);
  }
}
#endif

// 32-bit word i of an element, and an element from such words.
template <class F>
CELLAR_HD u32 word32(const F& x, int i) {
  if constexpr (sizeof(x.w[0]) == 4)
    return u32(x.w[i]);
  else
    return u32(x.w[i / 2] >> (32 * (i % 2)));
}
template <class F>
CELLAR_HD void set_word32(F& x, int i, u32 word) {
  if constexpr (sizeof(x.w[0]) == 4)
    x.w[i] = word;
  else
    x.w[i / 2] |= u64(word) << (32 * (i % 2));
}
constexpr int FR_WORDS = 8, FP_WORDS = 12;

CELLAR_HD u32 swapped(u32 x) { return x >> 24 | (x >> 8 & 0xff00) | (x << 8 & 0xff0000) | x << 24; }

// An integer from big-endian bytes, given as words of memory.
template <class F, int WORDS>
CELLAR_HD F load_big_endian(const u32* bytes) {
  F out = F::zero();
  for (int i = 0; i < WORDS; i++) set_word32(out, i, swapped(bytes[WORDS - 1 - i]));
  return out;
}
template <int WORDS, class F>
CELLAR_HD void store_big_endian(u32* bytes, const F& x) {
  for (int i = 0; i < WORDS; i++) bytes[i] = swapped(word32(x, WORDS - 1 - i));
}

// x < c, c given by its 32-bit words.
template <int WORDS, class F, class WordOf>
CELLAR_HD bool below(const F& x, const WordOf& c) {
  u64 borrow = 0;
  for (int i = 0; i < WORDS; i++) borrow = (u64(word32(x, i)) - c(i) - borrow) >> 63;
  return borrow != 0;
}
CELLAR_HD bool below_modulus(const Fr& x) {
  return below<FR_WORDS>(x, [](int i) { return FrWords32::modulus(i); });
}
CELLAR_HD bool below_modulus(const Fp& x) {
  return below<FP_WORDS>(x, [](int i) { return FpWords32::modulus(i); });
}

// Whether y, canonical, is above (p - 1) / 2: the larger of y and -y.
CELLAR_HD bool is_larger(const Fp& y) {
  bool below_half = below<FP_WORDS>(y, [](int i) { return u32(Curve::half_p(i / 2) >> (32 * (i % 2))) + (i == 0); });
  return !below_half;
}

// Where a row's 128 columns stand, as everywhere in FK20's last step: even powers of w^64 first.
CELLAR_HD int reversed_bits7(int i) {
  int out = 0;
  for (int k = 0; k < 7; k++) out |= (i >> k & 1) << (6 - k);
  return out;
}
// The cell whose proof belongs to a column (as in host/setup.hpp for lanes).
CELLAR_HD int cell_of_column(int column) {
  return reversed_bits7(2 * (column % (CELLS / 2)) + column / (CELLS / 2));
}

}  // namespace cellar
