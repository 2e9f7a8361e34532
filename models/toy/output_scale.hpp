#pragma once

#include <torch/types.h>

#include <cstdint>

#include "models/toy/toy.hpp"

namespace scalevec::models {

// The toy of T5 (docs/theory.md). Its only parameter is "gamma" [replicas], output-class; θ = γ. The noise is that of
// simulate_output_scale().
class OutputScale : public QuadraticToy {
 public:
  // Throws std::invalid_argument for wrong options, as every toy does.
  explicit OutputScale(const OutputScaleOptions& options, std::uint64_t seed = 0);

  torch::Tensor theta() const override { return gamma_; }

 private:
  torch::Tensor gamma_;
};

}  // namespace scalevec::models
