#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/series.hpp"
#include "optim/core/random.hpp"
#include "theory/moving_rotation.hpp"
#include "theory/simulate/batch_optimizer.hpp"

// What T9, T11, P8 and P9 simulate, a block of d weights before a norm, and how they and T12 draw it.
namespace scalevec::experiments {

// The gradient of the direction, before it is made orthogonal to w: `mean` in every coordinate and noise, all of it
// multiplied by length/√(d − 1), so that noise alone has root mean square length `length`.
struct DirectionGradient {
  double length = 1.0, mean = 0.0, noise = 1.0;
};

// ‖w‖² before and rotation of each step(w, g, t) under such gradients over ‖w‖, from a random w with ‖w₀‖² = norm_sq.
template <class Step>
std::vector<theory::Turn> rotation_by(const Step& step, std::size_t d, double norm_sq, std::int64_t steps,
                                      std::uint64_t seed, std::uint64_t stream,
                                      const DirectionGradient& gradient = {}) {
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
      g[i] = gradient.mean +
             gradient.noise * random_normal_of_pair(seed, stream + 1, static_cast<std::uint64_t>(t) * d + i);
      ww += w[i] * w[i];
      wg += w[i] * g[i];
    }
    const double unit = gradient.length / std::sqrt(ww * static_cast<double>(d - 1));
    for (std::size_t i = 0; i < d; ++i) g[i] = (g[i] - wg / ww * w[i]) * unit;
    before = w;
    step(w, g, t);
    double dot = 0.0, cross = 0.0;
    for (std::size_t i = 0; i < d; ++i) dot += before[i] * w[i];
    for (std::size_t i = 0; i < d; ++i) cross += std::pow(w[i] - dot / ww * before[i], 2);
    out.push_back({ww, std::atan2(std::sqrt(cross * ww), dot)});
  }
  return out;
}

// The same by a rule of the library.
inline std::vector<theory::Turn> simulated_rotation(const theory::SimulatedRule& rule, std::size_t d, double norm_sq,
                                                    std::int64_t steps, std::uint64_t seed, std::uint64_t stream,
                                                    double gradient = 1.0) {
  theory::BatchOptimizer optimizer(rule, d);
  const auto step = [&](std::vector<double>& w, const std::vector<double>& g, std::int64_t) {
    optimizer.step(w.data(), g.data());
  };
  return rotation_by(step, d, norm_sq, steps, seed, stream, {.length = gradient});
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

// What a run is off a prediction, as a share: the larger of ‖w‖² and of the rotation.
struct RotationError {
  double norm_sq = 0.0, rotation = 0.0;
};

// Draws ‖w‖² over its start and the rotation, a prediction as `lines` points and a run as dots, each a mean over one of
// `windows` windows of the run, of the run and of the line alike.
inline RotationError add_rotation_paths(Panel& norm, Panel& angle, const std::string& label,
                                        const std::vector<theory::Turn>& predicted,
                                        const std::vector<theory::Turn>& got, double start, std::size_t lines,
                                        std::size_t windows, int color) {
  std::vector<double> x, lengths, turns, dots_x, dots, turned;
  for (std::size_t t = 0; t < predicted.size(); t += std::max<std::size_t>(1, predicted.size() / lines)) {
    x.push_back(static_cast<double>(t));
    lengths.push_back(predicted[t].norm_sq / start);
    turns.push_back(predicted[t].rotation > 0.0 ? predicted[t].rotation : NAN);
  }
  const std::size_t window = std::max<std::size_t>(1, predicted.size() / windows);
  const double n = static_cast<double>(window);
  const std::vector<theory::Turn> sums = window_sums(got, window), expected = window_sums(predicted, window);
  RotationError error;
  for (std::size_t k = 0; k < sums.size(); ++k) {
    error.norm_sq = larger_or_nan(error.norm_sq, std::abs(sums[k].norm_sq / expected[k].norm_sq - 1.0));
    error.rotation = larger_or_nan(error.rotation, std::abs(sums[k].rotation / expected[k].rotation - 1.0));
    dots_x.push_back(static_cast<double>(k * window) + 0.5 * n);
    dots.push_back(sums[k].norm_sq / start / n);
    turned.push_back(sums[k].rotation / n);
  }
  norm.series.push_back(line(label, x, lengths, color));
  norm.series.push_back(points("", dots_x, dots, color));
  angle.series.push_back(line("", x, turns, color));
  angle.series.push_back(points("", dots_x, turned, color));
  return error;
}

// Of a log axis: what is far below the largest value is cut off.
inline void show_three_decades(Panel& panel) {
  double top = 0.0;
  for (const Series& one : panel.series)
    for (const double y : one.y) top = std::max(top, std::isnan(y) ? 0.0 : y);
  panel.y_range = {1e-3 * top, 1.5 * top};
}

}  // namespace scalevec::experiments
