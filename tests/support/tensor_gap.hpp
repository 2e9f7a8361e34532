#pragma once

#include <torch/types.h>

namespace scalevec {

// The largest difference relative to the largest entry of b.
inline double gap(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

}  // namespace scalevec
