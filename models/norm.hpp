#pragma once

#include <torch/types.h>

#include <utility>

#include "scalevec/models/decoder_options.hpp"

namespace scalevec {

// Norm over the last dimension of any x; RMSNorm x/√(mean x² + eps), LayerNorm the same of x − mean x.
struct Norm {
  NormKind kind = NormKind::rms;
  double eps = 1e-5;

  // gamma [last dimension], or undefined for none. The output has x's shape.
  torch::Tensor operator()(const torch::Tensor& x, const torch::Tensor& gamma = {}) const;
  // {x + y, the norm of that}, y of x's shape.
  std::pair<torch::Tensor, torch::Tensor> of_sum(const torch::Tensor& x, const torch::Tensor& y,
                                                 const torch::Tensor& gamma = {}) const;
};

}  // namespace scalevec
