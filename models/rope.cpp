#include "models/rope.hpp"

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>

#include "models/ops/fused.hpp"

namespace scalevec::models {

using torch::Tensor;

Rope::Rope(std::int64_t head_dim, double theta, const RopeScaling& scaling)
    : head_dim_(head_dim), theta_(theta), scaling_(scaling) {}

Tensor Rope::frequencies() const {
  const Tensor exponent = torch::arange(0, head_dim_, 2, torch::kFloat64) / static_cast<double>(head_dim_);
  const Tensor f = torch::pow(theta_, -exponent);
  if (scaling_.kind == RopeScaling::Kind::none) return f;
  const Tensor slow = f / scaling_.factor;
  if (scaling_.kind == RopeScaling::Kind::linear) return slow;
  if (scaling_.kind == RopeScaling::Kind::yarn) {
    // The index i whose frequency turns that many times over original_length.
    const double d = static_cast<double>(head_dim_), length = static_cast<double>(scaling_.original_length);
    const auto index_of = [&](double turns) {
      return d * std::log(length / (turns * 2.0 * M_PI)) / (2.0 * std::log(theta_));
    };
    double low = index_of(scaling_.beta_fast), high = index_of(scaling_.beta_slow);
    if (scaling_.truncate) {
      low = std::floor(low);
      high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, d - 1.0);
    if (low == high) high += 0.001;
    const Tensor divided = ((torch::arange(head_dim_ / 2, torch::kFloat64) - low) / (high - low)).clamp(0.0, 1.0);
    return divided * slow + (1.0 - divided) * f;
  }
  // Share of f that is kept: 0 for wavelengths above original_length/low_freq_factor, 1 below …/high_freq_factor.
  const Tensor turns = f * (static_cast<double>(scaling_.original_length) / (2.0 * M_PI));
  const Tensor kept =
      ((turns - scaling_.low_freq_factor) / (scaling_.high_freq_factor - scaling_.low_freq_factor)).clamp(0.0, 1.0);
  return kept * f + (1.0 - kept) * slow;
}

// cos and sin [T, head_dim/2] for the T positions of x, in float32 where x is rounded further. Angles are formed in
// double precision: in float32 an angle of some thousand radians keeps only four decimals.
std::pair<Tensor, Tensor> Rope::tables_for(const Tensor& x) {
  const std::int64_t length = x.size(1);
  const auto type = x.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
  if (!cos_.defined() || cos_.size(0) < length || cos_.scalar_type() != type || cos_.device() != x.device()) {
    const torch::NoGradGuard no_grad;
    // A recorded step goes on reading the table that it was recorded with.
    if (cos_.defined() && !cos_.is_cpu()) older_.insert(older_.end(), {cos_, sin_});
    std::int64_t rows = 1;
    while (rows < length) rows *= 2;
    const auto options = torch::TensorOptions().dtype(type).device(x.device());
    const Tensor angle = torch::arange(rows, torch::kFloat64).view({rows, 1}) * frequencies();
    cos_ = angle.cos().to(options);
    sin_ = angle.sin().to(options);
  }
  return {cos_.narrow(0, 0, length), sin_.narrow(0, 0, length)};
}

Tensor Rope::rotate(const Tensor& x) {
  const auto [cos, sin] = tables_for(x);
  return ops::rotate(x, cos, sin);
}

Tensor Rope::norm_rotate(const Tensor& x, const Tensor& gamma, bool per_head, double eps) {
  const auto [cos, sin] = tables_for(x);
  return ops::norm_rotate(x, gamma, cos, sin, per_head, eps);
}

}  // namespace scalevec::models
