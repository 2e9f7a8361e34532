#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "optim/core/random.hpp"
#include "theory/moving_rotation.hpp"
#include "theory/simulate/batch_optimizer.hpp"

// What T11, P8 and P9 simulate: a block of d weights before a norm, with the library's update rules.
namespace scalevec::experiments {

// ‖w‖² before and rotation of each step under gradients of random directions orthogonal to w, of root mean square
// length 1/‖w‖, from ‖w₀‖² = norm_sq.
inline std::vector<theory::Turn> simulated_rotation(const theory::SimulatedRule& rule, std::size_t d, double norm_sq,
                                                    std::int64_t steps, std::uint64_t seed, std::uint64_t stream) {
  theory::BatchOptimizer optimizer(rule, d);
  std::vector<double> w(d), g(d), before;
  double ww = 0.0;
  for (std::size_t i = 0; i < d; ++i) {
    w[i] = random_normal_of_pair(seed, stream, i);
    ww += w[i] * w[i];
  }
  for (double& x : w) x *= std::sqrt(norm_sq / ww);
  std::vector<theory::Turn> out;
  for (std::int64_t t = 0; t < steps; ++t) {
    double wg = 0.0;
    ww = 0.0;
    for (std::size_t i = 0; i < d; ++i) {
      g[i] = random_normal_of_pair(seed, stream + 1, static_cast<std::uint64_t>(t) * d + i);
      ww += w[i] * w[i];
      wg += w[i] * g[i];
    }
    const double unit = 1.0 / std::sqrt(ww * static_cast<double>(d - 1));
    for (std::size_t i = 0; i < d; ++i) g[i] = (g[i] - wg / ww * w[i]) * unit;
    before = w;
    optimizer.step(w.data(), g.data());
    double dot = 0.0, cross = 0.0;
    for (std::size_t i = 0; i < d; ++i) dot += before[i] * w[i];
    for (std::size_t i = 0; i < d; ++i) cross += std::pow(w[i] - dot / ww * before[i], 2);
    out.push_back({ww, std::atan2(std::sqrt(cross * ww), dot)});
  }
  return out;
}

}  // namespace scalevec::experiments
