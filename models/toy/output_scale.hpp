#pragma once

#include <torch/types.h>

#include <cstdint>

#include "scalevec/models/toy/toy.hpp"

namespace scalevec {

// T5: the one parameter "gamma" [replicas], output-class, θ = γ: with the noise that simulate_output_scale() draws.
class OutputScale : public QuadraticToy {
 public:
  // Throws std::invalid_argument for options that are not sound, as every toy does.
  explicit OutputScale(const OutputScaleOptions& options, std::uint64_t seed = 0);

  torch::Tensor theta() const override { return gamma_; }

 private:
  torch::Tensor gamma_;
};

}  // namespace scalevec
