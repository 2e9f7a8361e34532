#pragma once

// What the file of a matrix method includes.
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "optim/core/method_traits.hpp"
#include "optim/core/option_table.hpp"
#include "optim/matrix/orthogonalise.hpp"
#include "optim/matrix/products.hpp"
#include "optim/matrix/squares.hpp"
#include "optim/method.hpp"
#include "optim/parallel/parallel.hpp"

namespace scalevec::methods {

// 1/x, and 0 for 0.
inline torch::Tensor inverse_or_zero(const torch::Tensor& x) { return x.reciprocal().masked_fill_(x == 0, 0); }

// Calls body(T()) with the type of the job's state.
template <class F>
void with_state_type(const MatrixJob& job, F&& body) {
  if (job.dtype == kernels::Dtype::float64)
    body(double());
  else
    body(float());
}

}  // namespace scalevec::methods
