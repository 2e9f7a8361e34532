#pragma once

#include <torch/types.h>

#include <cstdint>

#include "scalevec/models/toy/toy.hpp"

namespace scalevec {

// T2, T3, T4: "gamma" [replicas], input-class, and "weight" [rows, replicas] whose columns it scales; a column and its
// γ are a replica. θ [rows, replicas] = γ_jw_ij, θ* = target in row 0.
class InputScale : public QuadraticToy {
 public:
  explicit InputScale(const InputScaleOptions& options, std::uint64_t seed = 0);

  torch::Tensor theta() const override { return gamma_.defined() ? weight_ * gamma_ : weight_; }

 private:
  torch::Tensor gamma_, weight_;
};

}  // namespace scalevec
