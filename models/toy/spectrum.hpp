#pragma once

#include <torch/types.h>

#include <cstdint>

#include "models/toy/toy.hpp"

namespace scalevec::models {

// The toy of T10 (docs/theory.md). Parameters: "gamma" [modes], input-class, and "weight" [1, modes]. θ [1, modes] =
// γ_jw_j, with curvature j^−a and target R₀j^−b for j from 1. Only the noise is random.
class Spectrum : public QuadraticToy {
 public:
  explicit Spectrum(const SpectrumOptions& options, std::uint64_t seed = 0);

  torch::Tensor theta() const override { return gamma_.defined() ? weight_ * gamma_ : weight_; }

 private:
  torch::Tensor gamma_, weight_;
};

}  // namespace scalevec::models
