#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "optim/optimizer.hpp"

// Parameters and gradients that are functions of a number, and copies of what an optimizer holds.
namespace scalevec::host_tests {

inline torch::Tensor leaf(const std::vector<std::int64_t>& shape, std::uint64_t seed,
                          torch::Dtype dtype = torch::kFloat32) {
  torch::manual_seed(seed);
  return torch::randn(shape, torch::kFloat64).to(dtype).requires_grad_(true);
}

inline torch::Tensor gradient(const torch::Tensor& p, std::uint64_t step) {
  torch::manual_seed(1000 + step);
  return torch::randn(p.sizes(), torch::kFloat64).to(p.dtype());
}

inline void set_grad(const torch::Tensor& p, std::uint64_t step) { p.mutable_grad() = gradient(p, step); }

inline std::map<std::string, torch::Tensor> held_by(const Optimizer& optimizer) {
  std::map<std::string, torch::Tensor> out;
  for (const auto& [name, tensor] : optimizer.named_state()) out[name] = tensor.clone();
  return out;
}

}  // namespace scalevec::host_tests
