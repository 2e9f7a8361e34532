#pragma once

#include <torch/types.h>

#include <functional>

#include "models/decoder_options.hpp"

namespace scalevec::models {

// Which experts each of N tokens is sent to.
struct Routing {
  torch::Tensor experts;  // [N, top_k] int64
  torch::Tensor weights;  // [N, top_k], p_e of those experts, differentiable
  torch::Tensor load;     // [experts], assignments per expert; sums to N·top_k
  torch::Tensor balance;  // scalar, experts·Σ_e f_e·P_e (MoeOptions::balance_loss), differentiable through P
};

// Routes N tokens. `logits` [N, experts] are those of the router. `bias` [experts], or undefined, is added to the
// probabilities for the choice of experts only. `sum`, if given, adds to the load, in place, the load of other parts of
// the batch before the balance loss is computed.
Routing route(const torch::Tensor& logits, const torch::Tensor& bias, const MoeOptions& options,
              const std::function<void(torch::Tensor&)>& sum = nullptr);

// bias_e += rate·sign(mean load − load_e), in place; bias and load [experts] (arXiv 2408.15664).
void balance_bias(torch::Tensor& bias, const torch::Tensor& load, double rate);

}  // namespace scalevec::models
