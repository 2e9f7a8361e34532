#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "scalevec/models/model.hpp"
#include "scalevec/models/toy/output_scale_options.hpp"

namespace scalevec {

// T5 as a module: the one parameter "gamma", float64 [replicas], output-class, and the loss
//   Σ_i [½h(γ_i − γ*)² + σ ξ_{i,t} γ_i],  ξ_{i,t} = random_normal(seed, stream_of("toy.noise"), t·replicas + i),
// whose gradient is h(γ_i − γ*) + σ ξ_{i,t}: the numbers that theory's batched simulation draws.
class OutputScale : public Model {
 public:
  // Throws std::invalid_argument for options that are not sound.
  explicit OutputScale(const OutputScaleOptions& options);

  torch::Tensor loss(const torch::Tensor& tokens, std::int64_t step) override;
  bool needs_tokens() const override { return false; }
  std::int64_t vocab_size() const override { return 0; }

  // mean_i ½h(γ_i − γ*)²: what the noise-free loss lies above its minimum.
  double excess() const;
  const OutputScaleOptions& options() const { return options_; }

 private:
  OutputScaleOptions options_;
  torch::Tensor gamma_;
};

}  // namespace scalevec
