#include "theory/simulate/kernels.hpp"

#include "optim/core/instruction_set.hpp"

namespace scalevec::theory::simulate {

SCALEVEC_ISA_TABLES(Table, table, kernels)

}  // namespace scalevec::theory::simulate
