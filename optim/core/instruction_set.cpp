#include "optim/core/instruction_set.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

namespace scalevec {

const std::vector<std::string>& runnable_instruction_sets() {
  static const std::vector<std::string> sets = [] {
    std::vector<std::string> found;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd"))
      found.push_back("avx512");
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
      found.push_back("avx2");
#endif
    found.push_back("baseline");
    return found;
  }();
  return sets;
}

const std::string& instruction_set() {
  static const std::string chosen = [] {
    const std::vector<std::string>& sets = runnable_instruction_sets();
    const char* wanted = std::getenv("SCALEVEC_ISA");
    if (!wanted) return sets.front();
    if (std::find(sets.begin(), sets.end(), wanted) != sets.end()) return std::string(wanted);
    std::string allowed;
    for (const std::string& set : sets) allowed += (allowed.empty() ? "" : ", ") + set;
    throw std::invalid_argument("environment variable SCALEVEC_ISA: got \"" + std::string(wanted) +
                                "\"; allowed on this machine: " + allowed);
  }();
  return chosen;
}

}  // namespace scalevec
