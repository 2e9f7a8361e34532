#pragma once

#include <torch/types.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "models/decoder_options.hpp"

namespace scalevec::models {

// Rotary position embedding (Su et al., arXiv 2104.09864) in the half-split layout of Hugging Face's Llama: element i
// is rotated with element i + head_dim/2 by the angle position·f_i, with f_i = theta^(−2i/head_dim) changed by
// `scaling`.
class Rope {
 public:
  Rope(std::int64_t head_dim, double theta, const RopeScaling& scaling = {});

  // Rotates x [B, T, H, head_dim] for positions 0 … T−1. The result has x's shape and dtype. The object keeps a table
  // for the longest T so far, rounded up to a power of two, for one dtype and device, so it must not be used from two
  // threads at once.
  torch::Tensor rotate(const torch::Tensor& x);
  // Rotates γ ⊙ RMSNorm(x) in the same way. With `per_head` the norm is taken over each head, with gamma [head_dim];
  // else over all heads of a token, with gamma [H·head_dim]. gamma may be undefined. eps is added to the mean square.
  torch::Tensor norm_rotate(const torch::Tensor& x, const torch::Tensor& gamma, bool per_head, double eps);

 private:
  torch::Tensor frequencies() const;  // [head_dim/2] float64
  std::pair<torch::Tensor, torch::Tensor> tables_for(const torch::Tensor& x);

  std::int64_t head_dim_;
  double theta_;
  RopeScaling scaling_;
  torch::Tensor cos_, sin_;           // [T, head_dim/2]
  std::vector<torch::Tensor> older_;  // on a device
};

}  // namespace scalevec::models
