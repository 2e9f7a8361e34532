#pragma once

#include <torch/types.h>

#include <cstdint>

#include "scalevec/models/scale_vector.hpp"
#include "scalevec/models/toy/toy.hpp"

namespace scalevec {

// T8: one output-class scale of `size`, made as its form says from "scale.gamma", or from "scale.alpha" and
// "scale.beta" or "scale.log_beta" (the names of ScaleVector), every element of γ 1 at step 0.
class MagnitudeDirection : public Toy {
 public:
  explicit MagnitudeDirection(const MagnitudeDirectionOptions& options, std::uint64_t seed = 0);

  // ½h‖γ − γ*‖² + ½(h_mag − h)(t·(γ − γ*))² + σξ·γ, t = γ*/‖γ*‖.
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

}  // namespace scalevec
