// Words and qualifiers that every header of the compute core uses.
//
// The headers in this directory compile with g++ for the host and with NVRTC for CUDA. NVRTC finds no
// standard header, so they include none: integer types are declared here.
#pragma once

#ifdef __CUDACC__
#define CELLAR_HD __host__ __device__ __forceinline__
#define CELLAR_CONSTANT __host__ __device__
#else
#define CELLAR_HD inline __attribute__((always_inline))
#define CELLAR_CONSTANT  // constants are handed around as functions, which cannot be inlined always
#endif

namespace cellar {
using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i16 = short;
using i64 = long long;
static_assert(sizeof(u32) == 4 && sizeof(u64) == 8 && sizeof(void*) == 8, "LP64 only");
}  // namespace cellar
