#include <torch/torch.h>

#include <optional>

#include "scalevec/models/ops/fused.hpp"

namespace scalevec::ops::composed {

using torch::Tensor;

Tensor rms_norm(const Tensor& x, const Tensor& gamma, double eps) {
  return at::rms_norm(x, {x.size(-1)}, gamma.defined() ? std::optional<Tensor>(gamma) : std::nullopt, eps);
}

Tensor swiglu(const Tensor& gate, const Tensor& up) { return at::silu(gate) * up; }

Tensor normed_swiglu(const Tensor& x, const Tensor& gamma, double eps) {
  const std::vector<Tensor> halves = x.chunk(2, -1);
  return swiglu(rms_norm(halves[0], gamma, eps), rms_norm(halves[1], {}, eps));
}

Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin, const Tensor& gamma) {
  const Tensor scaled = gamma.defined() ? x * gamma.view({x.size(2), x.size(3)}) : x;
  const std::vector<Tensor> half = scaled.chunk(2, -1);
  const Tensor c = cos.unsqueeze(1), s = sin.unsqueeze(1);
  return at::cat({half[0] * c - half[1] * s, half[1] * c + half[0] * s}, -1);
}

Tensor scaled_linear(const Tensor& x, const std::vector<Scaled>& maps) {
  std::vector<Tensor> weights, biases;
  bool any_bias = false;
  for (const Scaled& map : maps) {
    Tensor weight = map.column.defined() ? map.weight * map.column : map.weight;
    if (map.row.defined()) weight = weight * map.row.unsqueeze(-1);
    weights.push_back(weight);
    biases.push_back(map.bias.defined() ? map.bias : torch::zeros({weight.size(0)}, weight.options()));
    any_bias = any_bias || map.bias.defined();
  }
  return at::linear(x, weights.size() == 1 ? weights[0] : at::cat(weights),
                    any_bias ? std::optional<Tensor>(at::cat(biases)) : std::nullopt);
}

}  // namespace scalevec::ops::composed
