#include "theory/muon.hpp"

#include <array>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "optim/core/random.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/reference_optimizers.hpp"

using namespace scalevec;
using namespace scalevec::theory;

namespace {

// X ← 1.5X − 0.5XXᵀX, which converges to the polar factor: no coefficients of Muon's.
reference::Matrix polar(const reference::Matrix& x) {
  return reference::newton_schulz(x, std::vector<reference::Triple>(24, {1.5, -0.5, 0.0}), 1.0);
}

reference::Matrix noise(std::size_t n, std::uint64_t index) {
  reference::Matrix out(n, n);
  for (std::size_t i = 0; i < out.x.size(); ++i) out.x[i] = random_normal(8, 1, index * out.x.size() + i);
  return out;
}

}  // namespace

// 400 draws of 64 entries: the standard error of the gain is about 0.4 %; the limit n → ∞ is 2 % off at n = 8, so that
// a deviation of 6 % is more than 9 standard errors away.
TEST_CASE("the polar factor of noise passes a small signal on by the factor a") {
  const std::size_t n = 8;
  const double gain = muon_noise(8.0, 0.0).gain, small = 0.05;
  double along = 0.0;
  for (std::uint64_t k = 0; k < 400; ++k) {
    const reference::Matrix base = noise(n, 2 * k), signal = noise(n, 2 * k + 1);
    const reference::Matrix up = polar(reference::mix(1.0, base, small, signal)),
                            down = polar(reference::mix(1.0, base, -small, signal));
    double dot = 0.0, norm = 0.0;
    for (std::size_t i = 0; i < n * n; ++i) {
      dot += (up.x[i] - down.x[i]) / (2.0 * small) * signal.x[i];
      norm += signal.x[i] * signal.x[i];
    }
    along += dot / norm / 400.0;
  }
  INFO(along << " " << gain);
  CHECK(std::abs(along / gain - 1.0) <= 0.06);
}

// 100 draws of 12 singular values here against 64 there: the means' standard errors are below 1 % together, 2 % for the
// gain by differences; 4 and 10 % are beyond four of them.
TEST_CASE("the quintic's mean squared singular value and gain are those of the matrices it leaves") {
  const std::size_t n = 12;
  const std::vector<reference::Triple> steps(5, {3.4445, -4.7750, 2.0315});
  const Orthogonalised got = quintic_steps(n);
  double squares = 0.0, along = 0.0, norm = 0.0;
  const double small = 0.01;
  for (std::uint64_t k = 0; k < 100; ++k) {
    const reference::Matrix base = noise(n, 5000 + k), signal = noise(n, 6000 + k);
    for (const double x : reference::newton_schulz(base, steps, 1.0).x) squares += x * x / (100.0 * n);
    const reference::Matrix up = reference::newton_schulz(reference::mix(1.0, base, small, signal), steps, 1.0);
    const reference::Matrix down = reference::newton_schulz(reference::mix(1.0, base, -small, signal), steps, 1.0);
    for (std::size_t i = 0; i < n * n; ++i) {
      along += (up.x[i] - down.x[i]) / (2.0 * small) * signal.x[i];
      norm += signal.x[i] * signal.x[i];
    }
  }
  CHECK(std::abs(squares / got.mean_square - 1.0) <= 0.04);
  INFO(along / norm << " " << got.gain);
  CHECK(std::abs(along / norm / got.gain - 1.0) <= 0.1);
  CHECK_THROWS_AS(quintic_steps(0), std::domain_error);
}

TEST_CASE("without momentum Muon's noise is white, and with it slower by its time") {
  // V = 1/n: entries of an orthogonal matrix, independent from step to step.
  CHECK(std::abs(muon_noise(8.0, 0.0).long_run - 1.0 / 8.0) <= 1e-15);
  CHECK(std::abs(muon_noise(8.0, 0.0).spread - 1.0) <= 1e-15);
  // Variance and autocorrelations of Nesterov's mix by its impulse response.
  for (const double mu : {0.3, 0.95}) {
    std::vector<double> response;
    double m = 0.0;
    for (int t = 0; t < 2000; ++t) {
      const double g = t == 0 ? 1.0 : 0.0;
      m = mu * m + (1.0 - mu) * g;
      response.push_back((1.0 - mu) * g + mu * m);
    }
    const auto covariance = [&](std::size_t lag) {
      double sum = 0.0;
      for (std::size_t t = 0; t + lag < response.size(); ++t) sum += response[t] * response[t + lag];
      return sum;
    };
    const double variance = covariance(0);
    double linear = 1.0, cubic = 1.0;
    for (std::size_t lag = 1; lag < 600; ++lag) {
      linear += 2.0 * covariance(lag) / variance;
      cubic += 2.0 * std::pow(covariance(lag) / variance, 3);
    }
    const MuonNoise got = muon_noise(16.0, mu);
    CHECK(std::abs(got.spread * got.spread / variance - 1.0) <= 1e-12);
    const double share = got.gain * got.gain;
    CHECK(std::abs(got.long_run / (share * linear + (1.0 / 16.0 - share) * cubic) - 1.0) <= 1e-10);
  }
}

// 96 runs each; the final loss of one varies by some 27 %, their mean by 2.8 %: 20 % from the formula are 5 standard
// errors beside its own error at n = 8. The horizons are κ lr T = .25 (nothing learned), 2 and 25.
TEST_CASE("the final loss of Muon under noise is the formula's, at short and long horizons") {
  const std::size_t n = 8;
  const int steps = 300, runs = 96;
  for (const auto& [lr, sigma, distance] : {std::array{0.1, 3.0, 0.0}, std::array{0.01, 4.0, 3.0},
                                            std::array{2e-3, 6.0, 2.0}, std::array{0.02, 4.0, 0.0}}) {
    double loss = 0.0;
    for (std::uint64_t run = 0; run < runs; ++run) {
      reference::Matrix w(n, n), m(n, n), mixed(n, n);
      for (std::size_t i = 0; i < n; ++i) w.x[i * n + i] = distance / std::sqrt(static_cast<double>(n));
      for (int t = 0; t < steps; ++t) {
        const reference::Matrix xi = noise(n, 100000 + run * steps + static_cast<std::uint64_t>(t));
        for (std::size_t i = 0; i < n * n; ++i) {
          const double g = w.x[i] + sigma * xi.x[i];
          m.x[i] = 0.9 * m.x[i] + 0.1 * g;
          mixed.x[i] = 0.1 * g + 0.9 * m.x[i];
        }
        w = reference::mix(1.0, w, -lr * (1.0 - static_cast<double>(t) / steps), polar(mixed));
      }
      for (const double x : w.x) loss += 0.5 * x * x / runs;
    }
    INFO("lr " << lr << " sigma " << sigma << " distance " << distance << " loss " << loss);
    CHECK(muon_linear_schedule_holds(8.0, 0.9, sigma, 1.0, lr, steps));
    const double expected = muon_linear_schedule_loss(8.0, 0.9, sigma, 1.0, lr, steps, distance);
    CHECK(std::abs(loss / expected - 1.0) <= 0.2);
  }
  CHECK(!muon_linear_schedule_holds(8.0, 0.9, 0.01, 1.0, 0.1, 300.0));
}

// ½hn²V lr²∫(1 − t/T)² e^{…} by Simpson's rule over 2·10⁵ intervals, and its two ends.
TEST_CASE("the loss at the end of a linear schedule is its integral") {
  for (const double lr : {1e-6, 1e-3, 0.03, 1.0, 50.0}) {
    const double steps = 400.0, sigma = 2.0, h = 0.7;
    const MuonNoise n = muon_noise(9.0, 0.8);
    const double rate = n.gain * h / (n.spread * sigma) * lr;
    double sum = 0.0;
    const int parts = 200000;
    for (int i = 0; i <= parts; ++i) {
      const double left = steps * i / parts, lr_there = lr * left / steps;  // steps before the end
      const double weight = i == 0 || i == parts ? 1.0 : i % 2 ? 4.0 : 2.0;
      sum += weight * lr_there * lr_there * std::exp(-rate * left * left / steps) * steps / parts / 3.0;
    }
    const double expected = 0.5 * h * 81.0 * n.long_run * sum + 0.5 * h * 9.0 * std::exp(-rate * steps);
    INFO("lr " << lr);
    CHECK(std::abs(muon_linear_schedule_loss(9.0, 0.8, sigma, h, lr, steps, 3.0) / expected - 1.0) <= 1e-9);
  }
}

TEST_CASE("Muon's formulas refuse arguments outside their domain by name") {
  CHECK_THROWS_AS(muon_noise(0.5, 0.9), std::domain_error);
  CHECK_THROWS_AS(muon_noise(8.0, 1.0), std::domain_error);
  CHECK_THROWS_AS(muon_rotation(8.0, 0.9, 0.0, 0.1), std::domain_error);
  CHECK_THROWS_AS(muon_linear_schedule_loss(8.0, 0.9, -1.0, 1.0, 0.1, 10.0), std::domain_error);
  CHECK_THROWS_AS(muon_error_to_noise(8.0, 0.9, 1.0, 1.0, 0.1, 0.0), std::domain_error);
}
