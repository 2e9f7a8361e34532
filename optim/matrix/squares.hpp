#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "optim/kernels/elementwise.hpp"

namespace scalevec::kernels {

// What the kernels call a tensor's dtype. Throws std::invalid_argument with `name` for one that they lack.
Dtype kernel_dtype(const torch::Tensor& tensor, const std::string& name);

// Σx² of a contiguous tensor on the CPU in double, and of each of `rows` equal parts: bit-identical for any number of
// threads.
double squared_norm(const torch::Tensor& x);
std::vector<double> squared_row_norms(const torch::Tensor& x, std::int64_t rows);

}  // namespace scalevec::kernels
