#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "tests/support/reference_optimizers.hpp"

// Between LibTorch's tensors and the matrices of the reference optimizers, float64.
namespace scalevec {

inline torch::Tensor to_tensor(const reference::Matrix& m) {
  const auto rows = static_cast<std::int64_t>(m.rows), cols = static_cast<std::int64_t>(m.cols);
  return torch::tensor(m.x, torch::kFloat64).reshape({rows, cols});
}

inline reference::Matrix to_reference(const torch::Tensor& t) {
  reference::Matrix out(static_cast<std::size_t>(t.size(0)), static_cast<std::size_t>(t.size(1)));
  const torch::Tensor flat = t.detach().to(torch::kFloat64).contiguous();
  std::copy_n(flat.data_ptr<double>(), out.x.size(), out.x.begin());
  return out;
}

// ‖a − b‖/‖b‖.
inline double relative(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a.detach().to(torch::kFloat64) - b).norm() / b.norm()).item<double>();
}

}  // namespace scalevec
