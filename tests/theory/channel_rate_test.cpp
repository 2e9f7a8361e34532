#include "theory/channel_rate.hpp"

#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/draw.hpp"
#include "theory/integrate.hpp"

// T15 against flows of (γ, w) by Odeint, which know nothing of rates.
using namespace scalevec;
using namespace scalevec::theory;

namespace {

using State = std::vector<double>;

}  // namespace

TEST_CASE("T15: a constant per-channel rate takes W as far as a trained scale does in the same time") {
  Arguments draw(51);
  for (int i = 0; i < 200; ++i) {
    const double h = draw.size(0.1, 10.0), gamma0 = draw.size(0.3, 3.0), w0 = i % 3 ? 0.0 : draw.either(0.1, 1.0);
    const double target = draw.either(0.1, 5.0), k = gamma0 * gamma0 - w0 * w0;
    if (std::abs(k) < 1e-2) continue;
    const Flow flow{h, target, k, gamma0 * w0};
    const double t = draw.size(0.01, 5.0) / flow_rate(flow);
    State trained{gamma0, w0};
    integrate_flow(
        [&](const State& x, State& dx) {
          const double g = h * (x[0] * x[1] - target);
          dx[0] = -g * x[1];
          dx[1] = -g * x[0];
        },
        trained, t, 1e-12);
    // W behind a scale that does not learn, √rate.
    const double rate = equivalent_rate(flow, t);
    State fixed{flow.initial};
    integrate_flow([&](const State& x, State& dx) { dx[0] = -rate * h * (x[0] - target); }, fixed, t, 1e-12);
    INFO("h " << h << " R " << target << " k " << k << " r0 " << flow.initial << " t " << t);
    CHECK(std::abs(fixed[0] - trained[0] * trained[1]) <= 1e-9 * std::max(1.0, std::abs(target)));
    // Between the extremes of the rate on the way.
    const double low = flow.initial * target < 0.0 ? std::abs(k)
                                                   : std::min(channel_rate(k, flow.initial), channel_rate(k, target)),
                 high = std::max(channel_rate(k, flow.initial), channel_rate(k, target));
    CHECK(rate >= low * (1.0 - 1e-12));
    CHECK(rate <= high * (1.0 + 1e-12));
  }
  // Its limits in time, and the order at which a trained scale leaves the fixed rate |k|: (r/k)².
  const Flow flow{1.0, 0.5, 1.0, 0.1};
  CHECK(std::abs(equivalent_rate(flow, 1e-9) - channel_rate(1.0, 0.1)) <= 1e-8);
  CHECK(std::abs(equivalent_rate(flow, 500.0) - channel_rate(1.0, 0.5)) <= 5e-3);
  for (const double r : {1e-2, 1e-3}) {
    const double excess = equivalent_rate({1.0, r, 1.0, 0.0}, 1.0) - 1.0;
    const double twice = equivalent_rate({1.0, 2.0 * r, 1.0, 0.0}, 1.0) - 1.0;
    CHECK(excess > 0.0);
    CHECK(std::abs(twice / excess - 4.0) <= 0.01);
  }
  CHECK_THROWS_AS(equivalent_rate({1.0, 1.0, 1.0, 1.0}, 1.0), std::domain_error);
  CHECK_THROWS_AS(equivalent_rate(flow, 0.0), std::domain_error);
}

TEST_CASE("T15: sign descent of a scale and its weight, in steps") {
  for (const double gamma0 : {0.0, 0.3, 1.0, 4.0})
    for (const double t : {0.1, 1.0, 5.0}) {
      double gamma = gamma0, w = 0.0;
      const int steps = 100000;
      for (int i = 0; i < steps; ++i) {
        gamma += t / steps;
        w += t / steps;
      }
      CHECK(std::abs(gamma * w - sign_descent_length(gamma0, t)) <= 1e-9 * (1.0 + gamma * w));
    }
}

// Two measurements of five columns from θ = 0: the flow's end satisfies both and has ½ asinh(2θ/|k|) in their span,
// which is what makes it the minimum; at the ends of k it is the solution of least squares' and of least absolute sum.
TEST_CASE("T15: which interpolating solution the flow picks") {
  Arguments draw(51);
  for (int i = 0; i < 24; ++i) {
    const std::size_t n = 5;
    State a(2 * n), y{1.0, -0.7};
    for (double& x : a) x = draw.normal();
    const double k = i % 3 == 0 ? draw.size(30.0, 100.0) : draw.size(0.05, 3.0);
    State s(2 * n, 0.0);  // γ, w
    for (std::size_t j = 0; j < n; ++j) s[j] = std::sqrt(k);
    integrate_flow(
        [&](const State& x, State& dx) {
          double off[2] = {-y[0], -y[1]};
          for (std::size_t j = 0; j < n; ++j)
            for (std::size_t r = 0; r < 2; ++r) off[r] += a[r * n + j] * x[j] * x[n + j];
          for (std::size_t j = 0; j < n; ++j) {
            const double g = a[j] * off[0] + a[n + j] * off[1];
            dx[j] = -g * x[n + j];
            dx[n + j] = -g * x[j];
          }
        },
        s, 300.0 / std::min(1.0, k), 1e-10);
    State theta(n), slope(n);
    double off[2] = {-y[0], -y[1]};
    for (std::size_t j = 0; j < n; ++j) {
      theta[j] = s[j] * s[n + j];
      slope[j] = mirror_slope(theta[j], k);
      for (std::size_t r = 0; r < 2; ++r) off[r] += a[r * n + j] * theta[j];
    }
    if (std::hypot(off[0], off[1]) > 1e-8) continue;  // not there yet
    // slope = Aᵀν by its first two elements; the others follow.
    const double det = a[0] * a[n + 1] - a[1] * a[n];
    const double nu0 = (slope[0] * a[n + 1] - slope[1] * a[n]) / det, nu1 = (a[0] * slope[1] - a[1] * slope[0]) / det;
    INFO("case " << i << " k " << k);
    for (std::size_t j = 0; j < n; ++j)
      CHECK(std::abs(slope[j] - a[j] * nu0 - a[n + j] * nu1) <= 1e-5 * (1.0 + std::abs(nu0) + std::abs(nu1)));
    // No neighbour along the solutions has a smaller potential: a move d in A's null space.
    const auto total = [&](double step, const State& d) {
      double sum = 0.0;
      for (std::size_t j = 0; j < n; ++j) sum += mirror_potential(theta[j] + step * d[j], k);
      return sum;
    };
    for (std::size_t q = 2; q < n; ++q) {
      State d(n, 0.0);
      d[q] = 1.0;
      d[0] = -(a[q] * a[n + 1] - a[1] * a[n + q]) / det;
      d[1] = -(a[0] * a[n + q] - a[q] * a[n]) / det;
      CHECK(total(1e-2, d) >= total(0.0, d) - 1e-9);
      CHECK(total(-1e-2, d) >= total(0.0, d) - 1e-9);
    }
  }
}

TEST_CASE("T15: the potential is the integral of its slope, and its limits are squares and absolute values") {
  for (const double k : {1e-6, 0.3, -2.0, 1e6})
    for (const double theta : {-7.0, -1e-5, 0.0, 1e-3, 0.04 * 2.0, 1.0, 50.0}) {
      // Simpson's rule in v with θ = v³, whose slope near 0 is smooth.
      double sum = 0.0;
      const int parts = 20000;
      const double end = std::cbrt(theta);
      for (int i = 0; i <= parts; ++i) {
        const double v = end * i / parts;
        sum += (i == 0 || i == parts ? 1.0
                : i % 2              ? 4.0
                                     : 2.0) *
               0.5 * std::asinh(2.0 * v * v * v / std::abs(k)) * 3.0 * v * v * end / parts / 3.0;
      }
      INFO("k " << k << " theta " << theta);
      CHECK(std::abs(mirror_potential(theta, k) - sum) <= 1e-7 * std::abs(sum));
    }
  CHECK(std::abs(mirror_potential(0.5, 1e9) / (0.25 / 2e9) - 1.0) <= 1e-12);
  // ℓ₁ up to a logarithm: twice the length costs little more than twice.
  CHECK(std::abs(mirror_potential(2.0, 1e-200) / mirror_potential(1.0, 1e-200) / 2.0 - 1.0) <= 2e-3);
  CHECK_THROWS_AS(mirror_potential(1.0, 0.0), std::domain_error);
}
