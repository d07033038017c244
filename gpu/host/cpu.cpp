// What this library was built from, and what the processor and the operating system lack for it. Compiled without
// vector flags, so that it can be called anywhere.

// The digest of the sources that this library was built from, in hex (CMakeLists.txt).
extern "C" __attribute__((visibility("default"))) const char* cellar_sources() { return CELLAR_SOURCES; }

// The first missing feature, or null. __builtin_cpu_supports looks at cpuid and at what the system saves (XCR0).
extern "C" __attribute__((visibility("default"))) const char* cellar_missing_feature() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx512f")) return "AVX-512F";
  if (!__builtin_cpu_supports("avx512dq")) return "AVX-512DQ";
  if (!__builtin_cpu_supports("avx512bw")) return "AVX-512BW";
  if (!__builtin_cpu_supports("avx512vl")) return "AVX-512VL";
  if (!__builtin_cpu_supports("avx512ifma")) return "AVX-512IFMA";
  if (!__builtin_cpu_supports("bmi2")) return "BMI2";
  return nullptr;
}
