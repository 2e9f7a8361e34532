#include "scalevec/models/kernels/attention_kernels.hpp"

#include "scalevec/optim/core/instruction_set.hpp"

namespace scalevec::kernels {

SCALEVEC_ISA_TABLES(AttentionTable, attention_table, attention_table)

}  // namespace scalevec::kernels
