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
