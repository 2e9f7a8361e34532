#include "models/kernels/row_kernels.hpp"

#include "optim/core/instruction_set.hpp"

namespace scalevec::models::kernels {

SCALEVEC_ISA_TABLES(RowTable, row_table, row_table)

}  // namespace scalevec::models::kernels
