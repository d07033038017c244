// Arithmetic on 32-bit words with the carry flag of the PTX machine.
//
// Each function is one or two PTX instructions; `_cc` in its name says that it sets the flag, a `c` before that that it
// adds (or subtracts) the flag. A multiplication that yields both halves of a product is written as the pair
// mad.lo, madc.hi on neighbouring words, which the assembler fuses to one IMAD.WIDE.
//
// In a host build the same functions compute on a flag in a thread-local variable, bit for bit
// as the PTX manual defines them: so the algorithms on top of them are tested without a device.
//
// Source: PTX ISA 8.x, "Extended-Precision Integer Arithmetic Instructions".
#pragma once
#include "base.cuh"

#ifdef __CUDACC__
#define CELLAR_UNROLL_ALL _Pragma("unroll")
#else
#define CELLAR_UNROLL_ALL _Pragma("GCC unroll 32")
#endif

namespace cellar {
namespace ptx {

#ifdef __CUDACC__

#define CELLAR_PTX2(name, op)                                                  \
  __device__ __forceinline__ u32 name(u32 a, u32 b) {                          \
    u32 out;                                                                   \
    asm volatile(op " %0, %1, %2;" : "=r"(out) : "r"(a), "r"(b));              \
    return out;                                                                \
  }
CELLAR_PTX2(add_cc, "add.cc.u32")
CELLAR_PTX2(addc_cc, "addc.cc.u32")
CELLAR_PTX2(addc, "addc.u32")
CELLAR_PTX2(sub_cc, "sub.cc.u32")
CELLAR_PTX2(subc_cc, "subc.cc.u32")
CELLAR_PTX2(subc, "subc.u32")
#undef CELLAR_PTX2

// (high, low) = a b + (c_high, c_low) [+ carry]
#define CELLAR_PTX_WIDE(name, op_low, op_high)                                                         \
  __device__ __forceinline__ void name(u32& low, u32& high, u32 a, u32 b, u32 c_low, u32 c_high) {     \
    asm volatile(op_low " %0, %2, %3, %4; " op_high " %1, %2, %3, %5;"                                 \
                 : "=&r"(low), "=r"(high)                                                              \
                 : "r"(a), "r"(b), "r"(c_low), "r"(c_high));                                           \
  }
CELLAR_PTX_WIDE(mad_wide_cc, "mad.lo.cc.u32", "madc.hi.cc.u32")
CELLAR_PTX_WIDE(madc_wide_cc, "madc.lo.cc.u32", "madc.hi.cc.u32")
CELLAR_PTX_WIDE(madc_wide, "madc.lo.cc.u32", "madc.hi.u32")
#undef CELLAR_PTX_WIDE

__device__ __forceinline__ void mul_wide(u32& low, u32& high, u32 a, u32 b) {
  asm volatile("mul.lo.u32 %0, %2, %3; mul.hi.u32 %1, %2, %3;" : "=&r"(low), "=r"(high) : "r"(a), "r"(b));
}

#else

inline thread_local u32 carry = 0;

inline u32 with_carry(u64 sum) {
  carry = u32(sum >> 32);
  return u32(sum);
}
inline u32 with_borrow(u64 difference) {
  carry = u32(difference >> 32) & 1;
  return u32(difference);
}
inline u32 add_cc(u32 a, u32 b) { return with_carry(u64(a) + b); }
inline u32 addc_cc(u32 a, u32 b) { return with_carry(u64(a) + b + carry); }
inline u32 addc(u32 a, u32 b) { return a + b + carry; }
inline u32 sub_cc(u32 a, u32 b) { return with_borrow(u64(a) - b); }
inline u32 subc_cc(u32 a, u32 b) { return with_borrow(u64(a) - b - carry); }
inline u32 subc(u32 a, u32 b) { return a - b - carry; }

inline void mul_wide(u32& low, u32& high, u32 a, u32 b) {
  const u64 product = u64(a) * b;
  low = u32(product), high = u32(product >> 32);
}
inline void mad_wide_cc(u32& low, u32& high, u32 a, u32 b, u32 c_low, u32 c_high) {
  const u64 product = u64(a) * b;
  low = add_cc(u32(product), c_low), high = addc_cc(u32(product >> 32), c_high);
}
inline void madc_wide_cc(u32& low, u32& high, u32 a, u32 b, u32 c_low, u32 c_high) {
  const u64 product = u64(a) * b;
  low = addc_cc(u32(product), c_low), high = addc_cc(u32(product >> 32), c_high);
}
inline void madc_wide(u32& low, u32& high, u32 a, u32 b, u32 c_low, u32 c_high) {
  const u64 product = u64(a) * b;
  low = addc_cc(u32(product), c_low), high = addc(u32(product >> 32), c_high);
}

#endif

}  // namespace ptx
}  // namespace cellar
