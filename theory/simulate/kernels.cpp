#include "scalevec/theory/simulate/kernels.hpp"

#include "scalevec/optim/core/instruction_set.hpp"

namespace scalevec::simulate {

extern const Table table_baseline;
#if defined(__x86_64__)
extern const Table table_avx2;
extern const Table table_avx512;
#endif

const Table& kernels() {
  static const Table& chosen = []() -> const Table& {
#if defined(__x86_64__)
    if (instruction_set() == "avx512") return table_avx512;
    if (instruction_set() == "avx2") return table_avx2;
#endif
    static_cast<void>(instruction_set());
    return table_baseline;
  }();
  return chosen;
}

}  // namespace scalevec::simulate
