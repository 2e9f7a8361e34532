#pragma once

#include <string>
#include <vector>

namespace scalevec {

// What kernels are compiled for and this machine runs, the best first: of "avx512" (x86-64-v4), "avx2" (x86-64-v3) and
// "baseline".
const std::vector<std::string>& runnable_instruction_sets();

// The best of them, or what the environment variable SCALEVEC_ISA names. Read once; std::invalid_argument for a name
// that is not runnable here.
const std::string& instruction_set();

}  // namespace scalevec

// In a namespace of kernels that are compiled once per instruction set: declares their tables TABLE_baseline,
// TABLE_avx2 and TABLE_avx512 and defines `const TYPE& GET()`, the one for instruction_set().
#if defined(__x86_64__)
#define SCALEVEC_ISA_TABLES(TYPE, TABLE, GET)                                                 \
  extern const TYPE TABLE##_baseline, TABLE##_avx2, TABLE##_avx512;                           \
  const TYPE& GET() {                                                                         \
    static const TYPE& chosen = ::scalevec::instruction_set() == "avx512" ? TABLE##_avx512    \
                                : ::scalevec::instruction_set() == "avx2" ? TABLE##_avx2      \
                                                                          : TABLE##_baseline; \
    return chosen;                                                                            \
  }
#else
#define SCALEVEC_ISA_TABLES(TYPE, TABLE, GET)         \
  extern const TYPE TABLE##_baseline;                 \
  const TYPE& GET() {                                 \
    static_cast<void>(::scalevec::instruction_set()); \
    return TABLE##_baseline;                          \
  }
#endif
