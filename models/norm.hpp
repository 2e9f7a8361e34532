#pragma once

#include <torch/types.h>

#include <utility>

#include "models/decoder_options.hpp"
#include "models/ops/fused.hpp"

namespace scalevec::models {

// A norm over the last dimension of a tensor: RMSNorm x/√(mean x² + eps) (arXiv 1910.07467), or LayerNorm, which is the
// same of x − mean x (arXiv 1607.06450).
struct Norm {
  NormKind kind = NormKind::rms;
  double eps = 1e-5;  // added to the mean square

  // γ ⊙ Norm(x), of x's shape. gamma [size of the last dimension], or undefined for no γ. `reader` as in ops.
  torch::Tensor operator()(const torch::Tensor& x, const torch::Tensor& gamma = {},
                           ops::Reader reader = ops::Reader::any) const;
  // {x + y, γ ⊙ Norm(x + y)}; y has x's shape.
  std::pair<torch::Tensor, torch::Tensor> of_sum(const torch::Tensor& x, const torch::Tensor& y,
                                                 const torch::Tensor& gamma = {},
                                                 ops::Reader reader = ops::Reader::any) const;
};

}  // namespace scalevec::models
