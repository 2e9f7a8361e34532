#include <boost/multiprecision/cpp_bin_float.hpp>
#include <cmath>
#include <random>

#include "scalevec/tests/support/catch.hpp"
#include "scalevec/theory/branches.hpp"
#include "scalevec/theory/flow.hpp"
#include "scalevec/theory/input_scale_decay.hpp"
#include "scalevec/theory/magnitude_direction.hpp"
#include "scalevec/theory/scale_invariance.hpp"

// Closed forms against 50 digits over ten decades of their arguments, and their limits.
using namespace scalevec;

namespace {

using Wide = boost::multiprecision::cpp_bin_float_50;

double off(double got, const Wide& expected) {
  if (expected == 0) return std::abs(got);
  return static_cast<double>(abs(Wide(got) / expected - 1));
}

class Draw {
 public:
  double size(double from, double to) {
    return std::pow(10.0, std::uniform_real_distribution<double>(from, to)(random_));
  }
  double either(double from, double to) {
    return (std::uniform_int_distribution<int>(0, 1)(random_) ? 1.0 : -1.0) * size(from, to);
  }

 private:
  std::mt19937_64 random_{11};
};

}  // namespace

TEST_CASE("a length splits into γ² and ‖w‖² with 12 digits at any imbalance", "[extremes]") {
  Draw draw;
  for (int i = 0; i < 4000; ++i) {
    const double length = draw.size(-5, 5), k = i % 10 == 0 ? 0.0 : draw.either(-5, 5);
    const InputScaleEquilibrium at = split_length(length, k);
    const Wide r = length, root = sqrt(Wide(k) * k + 4 * r * r);
    INFO("length " << length << " k " << k);
    REQUIRE(off(at.gamma_sq, (root + k) / 2) <= 1e-12);
    REQUIRE(off(at.w_sq, (root - k) / 2) <= 1e-12);
    REQUIRE(off(top_curvature(2.0, length, k), 2 * root) <= 1e-12);
  }
}

TEST_CASE("times of the flow keep 12 digits where the states' differences do", "[extremes]") {
  Draw draw;
  for (int i = 0; i < 4000; ++i) {
    // From 0 to a share of the target: the two differences of the states are exact.
    const Flow f{draw.size(-2, 2), draw.size(-5, 5), i % 10 == 0 ? 0.0 : draw.either(-5, 5), 0.0};
    const double relative = draw.size(-12, -0.1);
    if (f.imbalance == 0.0) continue;
    const Wide k = abs(Wide(f.imbalance)), target = f.target, left = sqrt(Wide(relative)) * target, to = target - left;
    const auto u = [&](const Wide& r) { return Wide(2 * r / k + sqrt(4 * r * r / (k * k) + 1)); };
    const Wide end = u(target), start = 1, now = u(to);
    const Wide rate = Wide(f.h) * sqrt(k * k + 4 * target * target);
    const Wide time = log((end - start) / (start + 1 / end) * (now + 1 / end) / (end - now)) / rate;
    INFO("h " << f.h << " R " << f.target << " k " << f.imbalance << " loss " << relative);
    REQUIRE(off(flow_time_to_loss(f, relative), time) <= 1e-11);
    REQUIRE(off(plain_time_to_loss(f.h, relative), -log(Wide(relative)) / (2 * Wide(f.h))) <= 1e-12);
  }
}

TEST_CASE("elementary forms keep 12 digits over their whole domain", "[extremes]") {
  Draw draw;
  for (int i = 0; i < 4000; ++i) {
    const double target = draw.size(-5, 5), d = draw.size(0, 10), s = draw.size(-5, 5), lr = draw.size(-6, 0),
                 decay = draw.size(-6, 2), beta = 1.0 - draw.size(-4, -0.01);
    const Wide wide_s = s, wide_d = d;
    REQUIRE(off(sign_descent_time(target), (sqrt(1 + 4 * Wide(target)) - 1) / 2) <= 1e-12);
    REQUIRE(off(sign_descent_speedup(target), (sqrt(1 + 4 * Wide(target)) + 1) / 2) <= 1e-12);
    REQUIRE(off(or_adam_amplification(d, s), sqrt((wide_s * wide_s + 1) / (wide_s * wide_s + 1 / wide_d))) <= 1e-12);
    REQUIRE(off(or_beta_flow_equilibrium(target, d, s, decay),
                Wide(target) * wide_d * wide_s / (Wide(target) * wide_d + decay)) <= 1e-12);
    const Wide eta = lr, lambda = decay, mu = beta;
    REQUIRE(off(adamw_rotation(lr, decay, beta, d).angle, sqrt(2 * eta * lambda * (1 - mu) / (1 + mu))) <= 1e-12);
    REQUIRE(off(sgd_decoupled_rotation(lr, decay, beta, s).norm,
                pow(eta * wide_s * wide_s / (2 * lambda * (1 - mu) * (1 - mu)), Wide(1) / 4)) <= 1e-12);
    REQUIRE(off(sgd_coupled_rotation(lr, decay, beta, s).norm,
                pow(eta * wide_s * wide_s / (2 * lambda * (1 - mu)), Wide(1) / 4)) <= 1e-12);
  }
}

TEST_CASE("limits are continuous: λ → 0, k → 0, R → 0, d = 1, s → ∞", "[extremes]") {
  const double tiny = 1e-13;
  const InputScaleEquilibrium lasso = group_lasso_equilibrium({1.0, 1.0, tiny, tiny});
  CHECK(std::abs(lasso.length - 1.0) <= 2.0 * tiny);
  CHECK(std::abs(lasso.gamma_sq - split_length(1.0, 0.0).gamma_sq) <= 2.0 * tiny);
  const AdamWInputScale none = adamw_input_scale({1.0, 1.0, 0.0, 0.1}, 1.0, 2e-3, 16.0);
  const AdamWInputScale little = adamw_input_scale({1.0, 1.0, tiny, 0.1}, 1.0, 2e-3, 16.0);
  CHECK(std::abs(none.at.gamma_sq - little.at.gamma_sq) <= 1e-9);
  CHECK(std::abs(none.bias - little.bias) <= 1e-12);
  const Branches b{{1.0, 1.0}, {0.3, -2.0}};
  CHECK(shared_decay_equilibrium(b, 0.0) == b.target);
  CHECK(own_decay_equilibrium(b, 0.0) == b.target);
  CHECK(std::abs(own_decay_equilibrium(b, tiny)[1] + 2.0) <= 2.0 * tiny);
  for (const double sign : {-1.0, 1.0}) {
    CHECK(std::abs(split_length(0.7, sign * tiny).gamma_sq - 0.7) <= tiny);
    CHECK(std::abs(own_condition_number(b, sign * 1e-9) - own_condition_number(b, 0.0)) <= 1e-9);
  }
  CHECK(split_length(0.0, 0.0).gamma_sq == 0.0);
  CHECK(split_length(0.0, 2.0).w_sq == 0.0);
  CHECK(flow_time_to_loss({1.0, tiny, 1.0, 0.0}, 0.01) - plain_time_to_loss(1.0, 0.01) <= 1e-12);
  CHECK(or_adam_amplification(1.0, 1e-5) == 1.0);
  CHECK(or_adam_amplification(1e6, INFINITY) == 1.0);
  // One branch is the mode alone, shared or not.
  const Branches one{{2.0}, {1.5}};
  CHECK(shared_condition_number(one, 0.4) == 1.0);
  CHECK(own_condition_number(one, 0.4) == 1.0);
}
