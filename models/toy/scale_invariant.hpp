#pragma once

#include <torch/types.h>

#include <cstdint>

#include "scalevec/models/toy/toy.hpp"

namespace scalevec {

// T9: "weight" [rows, columns] before a norm: the loss sees ŵ = W/‖W‖ only, signal·½‖ŵ − t‖² + σξ·ŵ, so that its
// gradient is orthogonal to W and shrinks with 1/‖W‖. t is random with ‖t‖ = 1.
class ScaleInvariant : public Toy {
 public:
  explicit ScaleInvariant(const ScaleInvariantOptions& options, std::uint64_t seed = 0);

  torch::Tensor loss(const torch::Tensor& tokens, std::int64_t step) override;
  // signal·½‖ŵ − t‖².
  double excess() const override;

  const torch::Tensor& target() const { return target_; }

 private:
  torch::Tensor direction() const { return weight_ * weight_.square().sum().rsqrt(); }
  torch::Tensor clean_loss(const torch::Tensor& direction) const;

  double signal_;
  torch::Tensor weight_, target_;
};

}  // namespace scalevec
