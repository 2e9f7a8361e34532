#pragma once

#include <torch/types.h>

#include <functional>

#include "scalevec/models/decoder_options.hpp"

namespace scalevec {

// Which experts each of N tokens goes to.
struct Routing {
  torch::Tensor experts;  // [N, top_k] int64
  torch::Tensor weights;  // [N, top_k], differentiable
  torch::Tensor load;     // [experts], assignments per expert; sums to N·top_k
  torch::Tensor balance;  // scalar experts·Σ_e f_e·P_e, differentiable through P
};

// logits [N, experts] of the router. `bias` [experts], or undefined, is added to the probabilities for the choice
// alone. `sum`, if given, adds to the load what other parts of the batch have, before the balance is taken.
Routing route(const torch::Tensor& logits, const torch::Tensor& bias, const MoeOptions& options,
              const std::function<void(torch::Tensor&)>& sum = nullptr);

// bias_e += rate·sign(mean load − load_e).
void balance_bias(torch::Tensor& bias, const torch::Tensor& load, double rate);

}  // namespace scalevec
