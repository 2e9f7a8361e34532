#include "models/kernels/attention_kernels.hpp"

#include "optim/core/instruction_set.hpp"

namespace scalevec::models::kernels {

SCALEVEC_ISA_TABLES(AttentionTable, attention_table, attention_table)

}  // namespace scalevec::models::kernels
