#include "theory/stability.hpp"

#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/draw.hpp"
#include "theory/input_scale_decay.hpp"

// T14 by plain loops of the optimizers on ½h‖γw − θ*‖², next to the minimum and beyond the edge.
using namespace scalevec;
using namespace scalevec::theory;

namespace {

// Error of θ, in units of the offset at the start, after `steps` of momentum, in a column of 3 rows.
// `adam`: each coordinate divided by σ times its partner's length, m an average.
double error_growth(double h, double gamma0, double w_norm, double lr, double beta, double sigma, int steps,
                    Arguments& draw) {
  std::vector<double> w(3), at(4, 0.0), m(4, 0.0);
  double length = 0.0;
  for (double& x : w) length += std::pow(x = draw.normal(), 2);
  for (double& x : w) x *= w_norm / std::sqrt(length);
  // Linear in the offset of (w, γ) from the minimum.
  for (double& x : at) x = draw.normal();
  double start = 0.0;
  for (const double x : at) start += x * x;
  for (int t = 0; t < steps; ++t) {
    double along = 0.0;
    std::vector<double> g(4);
    for (std::size_t i = 0; i < 3; ++i) {
      const double error = h * (gamma0 * at[i] + at[3] * w[i]);
      g[i] = gamma0 * error;
      along += w[i] * error;
    }
    g[3] = along;
    double size = 0.0;
    for (std::size_t i = 0; i < 4; ++i) {
      if (sigma > 0.0) g[i] /= sigma * (i < 3 ? gamma0 : w_norm);
      m[i] = beta * m[i] + (sigma > 0.0 ? 1.0 - beta : 1.0) * g[i];
      at[i] -= lr * m[i];
      size += at[i] * at[i];
    }
    if (!(size < 1e200)) return INFINITY;
  }
  double end = 0.0;
  // Along the flat direction (scaling γ up and w down) nothing moves: the error alone counts.
  for (std::size_t i = 0; i < 3; ++i) end += std::pow(gamma0 * at[i] + at[3] * w[i], 2);
  return std::sqrt(end / start);
}

}  // namespace

TEST_CASE("T14: a pair is stable just below its edge and not above it") {
  Arguments draw(41);
  for (int i = 0; i < 200; ++i) {
    const double h = draw.size(0.01, 100.0), gamma = draw.size(0.1, 10.0), w = draw.size(0.1, 10.0),
                 beta = i % 4 ? 0.3 * (i % 4) : 0.0, sigma = draw.size(0.1, 10.0);
    const double edge = momentum_edge(pair_curvature(h, gamma, w), beta);
    const double adam = adam_edge(pair_adam_curvature(h, sigma, gamma, w), beta);
    INFO("h " << h << " gamma " << gamma << " w " << w << " beta " << beta);
    CHECK(error_growth(h, gamma, w, 0.98 * edge, beta, 0.0, 4000, draw) < 0.5);
    CHECK(error_growth(h, gamma, w, 1.02 * edge, beta, 0.0, 4000, draw) > 1e3);
    CHECK(error_growth(h, gamma, w, 0.98 * adam, beta, sigma, 4000, draw) < 0.5);
    CHECK(error_growth(h, gamma, w, 1.02 * adam, beta, sigma, 4000, draw) > 1e3);
    // At R = γ‖w‖ and k = γ² − ‖w‖² the curvature is T4's; Adam's is least where both are √R.
    CHECK(std::abs(pair_curvature(h, gamma, w) / top_curvature(h, gamma * w, gamma * gamma - w * w) - 1.0) <= 1e-9);
    CHECK(pair_adam_curvature(h, sigma, gamma, w) >= 2.0 * h * std::sqrt(gamma * w) / sigma * (1.0 - 1e-12));
  }
  CHECK(adam_edge(1.0, 0.9) == Approx(38.0));
}

// Gradient descent from next to the minimum between the edge of its imbalance and that of k = 0: it comes to rest at a
// smaller imbalance; above the latter it never does.
TEST_CASE("T14: gradient descent drains an imbalance that its lr does not allow") {
  Arguments draw(41);
  const auto run = [](double h, double target, double k, double lr, long steps) {
    const InputScaleEquilibrium at = split_length(target, k);
    double gamma = std::sqrt(at.gamma_sq), w = std::sqrt(at.w_sq) * (1.0 + 1e-3);
    for (long t = 0; t < steps; ++t) {
      const double g = h * (gamma * w - target), next = gamma - lr * g * w;
      w -= lr * g * gamma;
      gamma = next;
      if (!(std::abs(gamma) + std::abs(w) < 1e50)) return std::pair(static_cast<double>(INFINITY), 0.0);
    }
    return std::pair(std::abs(gamma * w - target) / target, std::abs(gamma * gamma - w * w));
  };
  for (int i = 0; i < 60; ++i) {
    const double h = draw.size(0.1, 10.0), target = draw.size(0.1, 10.0), most = self_stabilising_lr(h, target);
    const double lr = most * draw.size(0.3, 0.95), allowed = largest_stable_imbalance(h, target, lr);
    CHECK(std::abs(momentum_edge(top_curvature(h, target, allowed), 0.0) / lr - 1.0) <= 1e-12);
    INFO("h " << h << " R " << target << " lr " << lr << " allowed " << allowed);
    const auto below = run(h, target, 0.97 * allowed, lr, 20000), above = run(h, target, 1.1 * allowed, lr, 20000);
    CHECK(below.first <= 1e-6);
    CHECK(std::abs(below.second / (0.97 * allowed) - 1.0) <= 0.01);
    CHECK(above.first <= 1e-3);
    CHECK(above.second <= allowed * (1.0 + 1e-6));
    const auto beyond = run(h, target, 0.5 * target, 1.05 * most, 20000);
    CHECK(beyond.first > 1e-3);
  }
  CHECK(largest_stable_imbalance(1.0, 2.0, 0.6) == 0.0);
  CHECK(std::isinf(self_stabilising_lr(1.0, 0.0)));
}

// Where coupled decay ends, by plain gradient descent with it, then the edges of both states by the error_growth of an
// offset.
TEST_CASE("T14: what decay buys in lr") {
  Arguments draw(41);
  for (int i = 0; i < 30; ++i) {
    const double h = draw.size(0.5, 2.0), target = draw.size(0.5, 2.0), k = draw.size(0.1, 10.0),
                 decay_w = draw.size(0.02, 0.2), decay_gamma = draw.size(0.02, 0.2);
    double gamma = std::sqrt(split_length(target, k).gamma_sq), w = std::sqrt(split_length(target, k).w_sq);
    const double before = h * (gamma * gamma + w * w), lr = 0.02 / before;
    for (long t = 0; t < 400000; ++t) {
      const double g = h * (gamma * w - target), next = gamma - lr * (g * w + decay_gamma * gamma);
      w -= lr * (g * gamma + decay_w * w);
      gamma = next;
    }
    const double gain = before / (h * (gamma * gamma + w * w));
    INFO("h " << h << " R " << target << " k " << k << " decays " << decay_gamma << " " << decay_w);
    CHECK(std::abs(decay_lr_gain(h, target, k, decay_gamma, decay_w) / gain - 1.0) <= 0.02);
  }
  CHECK_THROWS_AS(decay_lr_gain(1.0, 1.0, 1.0, 2.0, 2.0), std::domain_error);
  CHECK_THROWS_AS(momentum_edge(0.0, 0.9), std::domain_error);
  CHECK_THROWS_AS(adam_edge(1.0, 1.0), std::domain_error);
  CHECK_THROWS_AS(pair_adam_curvature(1.0, 0.0, 1.0, 1.0), std::domain_error);
}
