#include "scalevec/models/kernels/row_kernels.hpp"

#include "scalevec/optim/core/instruction_set.hpp"

namespace scalevec::kernels {

extern const RowTable row_table_baseline;
#if defined(__x86_64__)
extern const RowTable row_table_avx2;
extern const RowTable row_table_avx512;
#endif

const RowTable& row_table() {
  static const RowTable& chosen = []() -> const RowTable& {
#if defined(__x86_64__)
    if (instruction_set() == "avx512") return row_table_avx512;
    if (instruction_set() == "avx2") return row_table_avx2;
#endif
    static_cast<void>(instruction_set());
    return row_table_baseline;
  }();
  return chosen;
}

}  // namespace scalevec::kernels
