#pragma once

#include <torch/types.h>

#include <cstdint>

#include "models/toy/toy.hpp"

namespace scalevec::models {

// The toy of T2, T3 and T4 (docs/theory.md). Parameters: "gamma" [replicas], input-class, and "weight" [rows,
// replicas], whose columns γ scales. A replica is a column with its γ. θ [rows, replicas] = γ_jw_ij; θ* = target in row
// 0, else 0.
class InputScale : public QuadraticToy {
 public:
  explicit InputScale(const InputScaleOptions& options, std::uint64_t seed = 0);

  torch::Tensor theta() const override { return gamma_.defined() ? weight_ * gamma_ : weight_; }

 private:
  torch::Tensor gamma_, weight_;
};

}  // namespace scalevec::models
