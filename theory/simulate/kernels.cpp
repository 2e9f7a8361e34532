#include "scalevec/theory/simulate/kernels.hpp"

#include "scalevec/optim/core/instruction_set.hpp"

namespace scalevec::simulate {

SCALEVEC_ISA_TABLES(Table, table, kernels)

}  // namespace scalevec::simulate
