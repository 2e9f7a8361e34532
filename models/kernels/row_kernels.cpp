#include "scalevec/models/kernels/row_kernels.hpp"

#include "scalevec/optim/core/instruction_set.hpp"

namespace scalevec::kernels {

SCALEVEC_ISA_TABLES(RowTable, row_table, row_table)

}  // namespace scalevec::kernels
