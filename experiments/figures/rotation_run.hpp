#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "experiments/plot/plot.hpp"
#include "optim/core/random.hpp"
#include "theory/moving_rotation.hpp"
#include "theory/simulate/batch_optimizer.hpp"

// What T9, T11 and P8 simulate: a block of d weights before a norm, with the library's update rules.
namespace scalevec::experiments {

// ‖w‖² before and rotation of each step under gradients of random directions orthogonal to w, of root mean square
// length `gradient`/‖w‖, from ‖w₀‖² = norm_sq.
inline std::vector<theory::Turn> simulated_rotation(const theory::SimulatedRule& rule, std::size_t d, double norm_sq,
                                                    std::int64_t steps, std::uint64_t seed, std::uint64_t stream,
                                                    double gradient = 1.0) {
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
    const double unit = gradient / std::sqrt(ww * static_cast<double>(d - 1));
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

// Sums over consecutive windows of so many steps; what is left at the end is not in them.
inline std::vector<theory::Turn> window_sums(const std::vector<theory::Turn>& turns, std::size_t window) {
  std::vector<theory::Turn> sums;
  for (std::size_t from = 0; from + window <= turns.size(); from += window) {
    theory::Turn sum{0.0, 0.0};
    for (std::size_t t = from; t < from + window; ++t) {
      sum.norm_sq += turns[t].norm_sq;
      sum.rotation += turns[t].rotation;
    }
    sums.push_back(sum);
  }
  return sums;
}

// Of a log axis: what is far below the largest value is cut off.
inline void show_three_decades(Panel& panel) {
  double top = 0.0;
  for (const Series& one : panel.series)
    for (const double y : one.y) top = std::max(top, std::isnan(y) ? 0.0 : y);
  panel.y_range = {1e-3 * top, 1.5 * top};
}

}  // namespace scalevec::experiments
