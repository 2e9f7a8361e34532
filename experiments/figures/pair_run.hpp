#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "experiments/statistics/statistics.hpp"
#include "optim/core/random.hpp"
#include "theory/simulate/batch_optimizer.hpp"

// What T12 and T13 simulate: a scale γ and the column w of c rows that reads it, loss ½h‖γw − Re₁‖² with gradient
// noise, with the library's update rules.
namespace scalevec::experiments {

struct PairRun {
  std::size_t rows = 16, replicas = 8;
  double h = 1.0, target = 1.0, sigma = 1.0;
  double first_row = 1.0;  // the noise's variance on the target's row over the others'
  double growth = 0.0;     // of the target per step
  theory::SimulatedRule w, gamma;
};

// ‖w‖²/γ² over steps, of the means over replicas, with half the width of its 95 % interval.
struct RatioPath {
  std::vector<double> step, ratio, bar;
};

inline RatioPath simulated_ratio(const PairRun& run, double ratio, std::int64_t steps, std::int64_t dots,
                                 std::uint64_t seed, std::uint64_t stream) {
  const std::size_t c = run.rows, n = run.replicas;
  theory::BatchOptimizer w_step(run.w, n * c), gamma_step(run.gamma, n);
  std::vector<double> w(n * c, 0.0), gamma(n), w_grad(n * c), gamma_grad(n);
  for (std::size_t i = 0; i < n; ++i) {
    gamma[i] = std::sqrt(run.target / std::sqrt(ratio));
    w[i] = run.target / gamma[i];
  }
  double target = run.target;
  RatioPath out;
  for (std::int64_t t = 0; t < steps; ++t) {
    std::fill(gamma_grad.begin(), gamma_grad.end(), 0.0);
    for (std::size_t j = 0; j < c; ++j)
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t at = j * n + i;
        const double noise = random_normal_of_pair(seed, stream + j, static_cast<std::uint64_t>(t) * n + i);
        const double g = run.h * (gamma[i] * w[at] - (j == 0 ? target : 0.0)) +
                         run.sigma * (j == 0 ? std::sqrt(run.first_row) : 1.0) * noise;
        w_grad[at] = gamma[i] * g;
        gamma_grad[i] += w[at] * g;
      }
    w_step.step(w.data(), w_grad.data());
    gamma_step.step(gamma.data(), gamma_grad.data());
    target *= 1.0 + run.growth;
    if ((t + 1) % std::max<std::int64_t>(1, steps / dots) != 0) continue;
    double squares = 0.0, scales = 0.0;
    std::vector<double> each(n, 0.0);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < c; ++j) each[i] += w[j * n + i] * w[j * n + i];
      squares += each[i];
      scales += gamma[i] * gamma[i];
    }
    const double mean = squares / scales;
    // Of the ratio of two means, to first order.
    for (std::size_t i = 0; i < n; ++i)
      each[i] = (each[i] - mean * gamma[i] * gamma[i]) / (scales / static_cast<double>(n));
    out.step.push_back(static_cast<double>(t + 1));
    out.ratio.push_back(mean);
    out.bar.push_back(mean_interval(each).half_width);
  }
  return out;
}

}  // namespace scalevec::experiments
