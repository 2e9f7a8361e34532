#include <torch/torch.h>

#include <optional>

#include "scalevec/models/ops/fused.hpp"

namespace scalevec::ops::composed {

using torch::Tensor;

Tensor rms_norm(const Tensor& x, const Tensor& gamma, double eps) {
  return at::rms_norm(x, {x.size(-1)}, gamma.defined() ? std::optional<Tensor>(gamma) : std::nullopt, eps);
}

Tensor cross_entropy(const Tensor& logits, const Tensor& target) { return at::cross_entropy_loss(logits, target); }

Tensor swiglu(const Tensor& gate, const Tensor& up) { return at::silu(gate) * up; }

Tensor normed_swiglu(const Tensor& gate, const Tensor& up, const Tensor& gamma, double eps) {
  return swiglu(rms_norm(gate, gamma, eps), rms_norm(up, {}, eps));
}

Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin, const Tensor& gamma) {
  const Tensor scaled = gamma.defined() ? x * gamma.view({x.size(2), x.size(3)}) : x;
  const std::vector<Tensor> half = scaled.chunk(2, -1);
  const Tensor c = cos.unsqueeze(1), s = sin.unsqueeze(1);
  return at::cat({half[0] * c - half[1] * s, half[1] * c + half[0] * s}, -1);
}

std::vector<Tensor> scaled_linear(const Tensor& x, const std::vector<Scaled>& maps) {
  std::vector<Tensor> out;
  for (const Scaled& map : maps) {
    Tensor weight = map.column.defined() ? map.weight * map.column : map.weight;
    if (map.row.defined()) weight = weight * map.row.unsqueeze(-1);
    out.push_back(at::linear(x, weight, map.bias.defined() ? std::optional<Tensor>(map.bias) : std::nullopt));
  }
  return out;
}

}  // namespace scalevec::ops::composed
