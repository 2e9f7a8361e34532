#pragma once

#include <torch/types.h>

#include <cstdint>

#include "models/scale_vector.hpp"
#include "models/toy/toy.hpp"

namespace scalevec::models {

// The toy of T8 (docs/theory.md): one output-class scale γ [size] in the given form. Parameters: "scale.gamma", or
// "scale.alpha" with "scale.beta" or "scale.log_beta" (the names of ScaleVector). Every element of γ is 1 at step 0.
class MagnitudeDirection : public Toy {
 public:
  explicit MagnitudeDirection(const MagnitudeDirectionOptions& options, std::uint64_t seed = 0);

  // ½h‖γ − γ*‖² + ½(h_mag − h)(t·(γ − γ*))² + σξ·γ with t = γ*/‖γ*‖. `tokens` is ignored.
  torch::Tensor loss(const torch::Tensor& tokens, std::int64_t step) override;
  double excess() const override;

  torch::Tensor gamma() const { return gamma_.value(); }
  const torch::Tensor& target() const { return target_; }

 private:
  torch::Tensor clean_loss(const torch::Tensor& gamma) const;

  MagnitudeDirectionOptions options_;
  ScaleVector gamma_;
  torch::Tensor target_;
};

}  // namespace scalevec::models
