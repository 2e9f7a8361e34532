// Compiled once per instruction set with SCALEVEC_ISA_TABLE set. Everything but the table has internal linkage: code
// for a newer instruction set must not be picked by the linker for an older machine.
#include "models/kernels/loss_loops.hpp"
#include "models/kernels/matrix_loops.hpp"
#include "models/kernels/norm_loops.hpp"
#include "models/kernels/rotate_loops.hpp"
#include "models/kernels/row_kernels.hpp"
#include "models/kernels/swiglu_loops.hpp"

#define SCALEVEC_JOIN_(a, b) a##b
#define SCALEVEC_JOIN(a, b) SCALEVEC_JOIN_(a, b)

namespace scalevec::models::kernels {
namespace {

template <class T>
constexpr RowKernels<T> kernels_of() {
  return {norm<T>,
          add_norm<T>,
          norm_backward<T>,
          unscaled_norm_backward<T>,
          swiglu<T>,
          swiglu_backward<T>,
          rotate<T>,
          norm_rotate<T>,
          norm_rotate_backward<T>,
          scale_matrix<T>,
          scale_matrix_backward<T>,
          cross_entropy<T>,
          cross_entropy_backward<T>,
          column_squares<T>,
          row_squares<T>};
}

}  // namespace

extern const RowTable SCALEVEC_JOIN(row_, SCALEVEC_ISA_TABLE);
const RowTable SCALEVEC_JOIN(row_, SCALEVEC_ISA_TABLE){kernels_of<float>(), kernels_of<double>()};

}  // namespace scalevec::models::kernels
