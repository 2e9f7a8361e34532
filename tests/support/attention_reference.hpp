#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

// The largest attention logit of each head, in plain double loops.
namespace scalevec::attention_reference {

// q [B, T, H, d] and k [B, T, H_kv, d] in any type; `window` 0: all positions before.
inline std::vector<double> max_logits(const torch::Tensor& q_in, const torch::Tensor& k_in, double scale,
                                      std::int64_t window) {
  const torch::Tensor q = q_in.detach().to(torch::kFloat64).contiguous(),
                      k = k_in.detach().to(torch::kFloat64).contiguous();
  const auto a = q.accessor<double, 4>(), b = k.accessor<double, 4>();
  const std::int64_t heads = q.size(2), shared = heads / k.size(2);
  std::vector<double> out(static_cast<std::size_t>(heads), -INFINITY);
  for (std::int64_t n = 0; n < q.size(0); ++n)
    for (std::int64_t h = 0; h < heads; ++h)
      for (std::int64_t i = 0; i < q.size(1); ++i)
        for (std::int64_t j = 0; j <= i; ++j) {
          if (window > 0 && i - j >= window) continue;
          double dot = 0.0;
          for (std::int64_t d = 0; d < q.size(3); ++d) dot += a[n][i][h][d] * b[n][j][h / shared][d];
          double& most = out[static_cast<std::size_t>(h)];
          most = std::max(most, scale * dot);
        }
  return out;
}

// x [B, T, heads·d] with rotary positions (arXiv 2104.09864): element i of a head with element i + d/2, by the angle
// position·theta^(−2i/d). theta 0: not rotated.
inline torch::Tensor rotated(const torch::Tensor& x, std::int64_t heads, double theta) {
  const torch::Tensor in = x.detach().to(torch::kFloat64).view({x.size(0), x.size(1), heads, -1}).contiguous();
  torch::Tensor out = in.clone();
  if (theta == 0.0) return out;
  const auto from = in.accessor<double, 4>();
  auto to = out.accessor<double, 4>();
  const std::int64_t half = in.size(3) / 2;
  for (std::int64_t n = 0; n < in.size(0); ++n)
    for (std::int64_t t = 0; t < in.size(1); ++t)
      for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t i = 0; i < half; ++i) {
          const double angle =
              static_cast<double>(t) * std::pow(theta, -static_cast<double>(i) / static_cast<double>(half));
          const double u = from[n][t][h][i], v = from[n][t][h][i + half];
          to[n][t][h][i] = u * std::cos(angle) - v * std::sin(angle);
          to[n][t][h][i + half] = v * std::cos(angle) + u * std::sin(angle);
        }
  return out;
}

}  // namespace scalevec::attention_reference
