#include "scalevec/models/rope.hpp"

#include <torch/torch.h>

#include <cmath>

#include "scalevec/models/ops/fused.hpp"

namespace scalevec {

using torch::Tensor;

Rope::Rope(std::int64_t head_dim, double theta, const RopeScaling& scaling)
    : head_dim_(head_dim), theta_(theta), scaling_(scaling) {}

Tensor Rope::frequencies() const {
  const Tensor exponent = torch::arange(0, head_dim_, 2, torch::kFloat64) / static_cast<double>(head_dim_);
  const Tensor f = torch::pow(theta_, -exponent);
  if (scaling_.kind == RopeScaling::Kind::none) return f;
  const Tensor slow = f / scaling_.factor;
  if (scaling_.kind == RopeScaling::Kind::linear) return slow;
  // Share of f that is kept: 0 for wavelengths above original_length/low_freq_factor, 1 below …/high_freq_factor.
  const Tensor turns = f * (static_cast<double>(scaling_.original_length) / (2.0 * M_PI));
  const Tensor kept = ((turns - scaling_.low_freq_factor) / (scaling_.high_freq_factor - scaling_.low_freq_factor)).clamp(0.0, 1.0);
  return kept * f + (1.0 - kept) * slow;
}

// Angles are formed in double precision: in float32 an angle of some thousand radians keeps only four decimals.
void Rope::make_tables(std::int64_t length, const torch::TensorOptions& options) {
  const torch::NoGradGuard no_grad;
  const Tensor angle = torch::arange(length, torch::kFloat64).view({length, 1}) * frequencies();
  cos_ = angle.cos().to(options);
  sin_ = angle.sin().to(options);
}

Tensor Rope::rotate(const Tensor& x, const Tensor& gamma) {
  const std::int64_t length = x.size(1);
  if (!cos_.defined() || cos_.size(0) < length || cos_.scalar_type() != x.scalar_type() || cos_.device() != x.device())
    make_tables(length, torch::TensorOptions().dtype(x.scalar_type()).device(x.device()));
  return ops::rotate(x, cos_.narrow(0, 0, length), sin_.narrow(0, 0, length), gamma);
}

}  // namespace scalevec
