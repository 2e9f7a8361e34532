#include "scalevec/models/kernels/attention_kernels.hpp"

#include "scalevec/optim/core/instruction_set.hpp"

namespace scalevec::kernels {

extern const AttentionTable attention_table_baseline;
#if defined(__x86_64__)
extern const AttentionTable attention_table_avx2;
extern const AttentionTable attention_table_avx512;
#endif

const AttentionTable& attention_table() {
  static const AttentionTable& chosen = []() -> const AttentionTable& {
#if defined(__x86_64__)
    if (instruction_set() == "avx512") return attention_table_avx512;
    if (instruction_set() == "avx2") return attention_table_avx2;
#endif
    static_cast<void>(instruction_set());
    return attention_table_baseline;
  }();
  return chosen;
}

}  // namespace scalevec::kernels
