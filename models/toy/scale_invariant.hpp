#pragma once

#include <torch/types.h>

#include <cstdint>

#include "models/toy/toy.hpp"

namespace scalevec::models {

// The toy of T9 (docs/theory.md): "weight" W [rows, columns] before a norm. The loss signal·½‖ŵ − t‖² + σξ·ŵ depends
// only on ŵ = W/‖W‖, so its gradient is orthogonal to W and proportional to 1/‖W‖. t is random with ‖t‖ = 1.
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

}  // namespace scalevec::models
