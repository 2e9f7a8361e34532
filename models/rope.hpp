#pragma once

#include <torch/types.h>

#include <cstdint>
#include <utility>

#include "scalevec/models/decoder_options.hpp"

namespace scalevec {

// Rotary position embedding (Su et al., arXiv 2104.09864) in the half-split layout of Hugging Face's Llama: element i
// is rotated with element i + head_dim/2 by the angle position·f_i, f_i = theta^(−2i/head_dim) as `scaling` changes it.
class Rope {
 public:
  Rope(std::int64_t head_dim, double theta, const RopeScaling& scaling = {});

  // x [B, T, H, head_dim] rotated, positions 0 … T−1. The result has x's shape and dtype. Keeps a table of the longest
  // T seen for x's dtype and device: not for use from two threads at once.
  torch::Tensor rotate(const torch::Tensor& x);
  // γ ⊙ RMSNorm(x) rotated, the norm over each head with gamma [head_dim], or over all of a token's heads with gamma
  // [H·head_dim]; gamma may be undefined.
  torch::Tensor norm_rotate(const torch::Tensor& x, const torch::Tensor& gamma, bool per_head, double eps);

 private:
  torch::Tensor frequencies() const;  // [head_dim/2] float64
  std::pair<torch::Tensor, torch::Tensor> tables_for(const torch::Tensor& x);

  std::int64_t head_dim_;
  double theta_;
  RopeScaling scaling_;
  torch::Tensor cos_, sin_;  // [T, head_dim/2]
};

}  // namespace scalevec
