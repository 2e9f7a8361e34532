#include <torch/types.h>

#include <optional>

#include "models/ops/fused.hpp"

namespace scalevec::models::ops::composed {

using torch::Tensor;

Tensor rms_norm(const Tensor& x, const Tensor& gamma, double eps) {
  return at::rms_norm(x, {x.size(-1)}, gamma.defined() ? std::optional<Tensor>(gamma) : std::nullopt, eps);
}

Tensor cross_entropy(const Tensor& logits, const Tensor& target) {
  const bool exact = logits.scalar_type() == torch::kFloat64;
  return at::cross_entropy_loss(exact ? logits : logits.to(torch::kFloat32), target);
}

Tensor radial(const Tensor& alpha, const Tensor& magnitude, bool exponential) {
  return (exponential ? magnitude.exp() : magnitude) * (alpha * alpha.square().mean().rsqrt());
}

Tensor swiglu(const Tensor& gate, const Tensor& up) { return at::silu(gate) * up; }

Tensor normed_swiglu(const Tensor& gate, const Tensor& up, const Tensor& gamma, double eps) {
  return swiglu(rms_norm(gate, gamma, eps), rms_norm(up, {}, eps));
}

Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  const std::vector<Tensor> half = x.chunk(2, -1);
  const Tensor c = cos.unsqueeze(1), s = sin.unsqueeze(1);
  return at::cat({half[0] * c - half[1] * s, half[1] * c + half[0] * s}, -1).to(x.scalar_type());
}

Tensor norm_rotate(const Tensor& x, const Tensor& gamma, const Tensor& cos, const Tensor& sin, bool per_head,
                   double eps) {
  const Tensor y = per_head ? ops::rms_norm(x, gamma, eps) : ops::rms_norm(x.flatten(2), gamma, eps).view_as(x);
  return rotate(y, cos, sin).to(x.scalar_type());
}

std::vector<Tensor> scaled_linear(const Tensor& x, const std::vector<Scaled>& maps) {
  std::vector<Tensor> out;
  for (const Scaled& map : maps) {
    Tensor weight = map.column.defined() ? map.weight * map.column : map.weight;
    if (map.row.defined()) weight = weight * map.row.unsqueeze(-1);
    const Tensor y = at::linear(x, weight, map.bias.defined() ? std::optional<Tensor>(map.bias) : std::nullopt);
    out.push_back(map.output_norm ? ops::rms_norm(y, {}, *map.output_norm) : y);
  }
  return out;
}

}  // namespace scalevec::models::ops::composed
