#include "theory/flow.hpp"

#include <boost/multiprecision/cpp_bin_float.hpp>
#include <cmath>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/catch.hpp"
#include "theory/integrate.hpp"

using namespace scalevec;
using namespace scalevec::theory;

namespace {

using Wide = boost::multiprecision::cpp_bin_float_50;

// R − r(t) in 50 digits from the textbook form: tanh substitution, r = (|k|/2) sinh(ln u) with D as an explicit
// exponential.
struct Exact {
  Wide position, gap;
};
Exact exact(const Flow& f, double t) {
  const Wide k = abs(Wide(f.imbalance)), target = f.target, start = f.initial;
  const auto asinh_wide = [](const Wide& x) {
    return x >= 0 ? Wide(log(x + sqrt(x * x + 1))) : Wide(-log(-x + sqrt(x * x + 1)));
  };
  const Wide s = asinh_wide(2 * target / k), u0 = exp(asinh_wide(2 * start / k));
  const Wide rate = Wide(f.h) * sqrt(k * k + 4 * target * target);
  const Wide d = exp(-rate * Wide(t)) * (exp(s) - u0) / (u0 + exp(-s));
  // D = (e^S − u)/(u + e^{−S}).
  const Wide u = (exp(s) - d * exp(-s)) / (1 + d);
  const Wide r = k / 4 * (u - 1 / u);
  // The gap without cancellation: R − r = (k/4)(e^S − u)(1 + e^{−S}/u), e^S − u = D(e^S + e^{−S})/(1 + D).
  return {r, k / 4 * d * (exp(s) + exp(-s)) / (1 + d) * (1 + exp(-s) / u)};
}

}  // namespace

TEST_CASE("the flow's closed form is the solution of its equation") {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> wide(-3.0, 3.0), curvature(0.2, 2.0), time(0.01, 3.0);
  for (int i = 0; i < 300; ++i) {
    Flow f{curvature(random), wide(random), wide(random), wide(random)};
    if (i % 5 == 0) f.imbalance = 0.0;
    const double t = time(random);
    std::vector<double> at{f.initial};
    integrate_flow(
        [&](const std::vector<double>& x, std::vector<double>& slope) {
          slope[0] = std::hypot(f.imbalance, 2.0 * x[0]) * f.h * (f.target - x[0]);
        },
        at, t);
    const double r = at[0];
    INFO("h " << f.h << " R " << f.target << " k " << f.imbalance << " r0 " << f.initial << " t " << t);
    CHECK(std::abs(flow_position(f, t) - r) <= 1e-9);
    CHECK(std::abs(flow_gap(f, t) - (f.target - r)) <= 1e-9);
  }
}

TEST_CASE("the flow keeps 12 digits over ten decades of every argument") {
  std::mt19937_64 random(2);
  std::uniform_real_distribution<double> decade(-5.0, 5.0), time(-6.0, 6.0);
  std::uniform_int_distribution<int> coin(0, 1);
  const auto draw = [&] { return (coin(random) ? 1.0 : -1.0) * std::pow(10.0, decade(random)); };
  for (int i = 0; i < 6000; ++i) {
    const Flow f{std::pow(10.0, decade(random) / 2.0), draw(), draw(), i % 3 == 0 ? 0.0 : draw()};
    const double t = std::pow(10.0, time(random));
    const Exact expected = exact(f, t);
    INFO("h " << f.h << " R " << f.target << " k " << f.imbalance << " r0 " << f.initial << " t " << t);
    const double r = flow_position(f, t), gap = flow_gap(f, t);
    REQUIRE(std::isfinite(r));
    REQUIRE(std::isfinite(gap));
    // Λt is rounded, and the gap falls by e^−Λt: an absolute error of Λt·2⁻⁵² in the exponent.
    const double exponent = flow_rate(f) * t;
    const double scale = std::max(std::abs(f.target), std::abs(f.initial));
    CHECK(std::abs(r - static_cast<double>(expected.position)) <= 1e-12 * std::max(scale, std::abs(r)));
    const double exact_gap = static_cast<double>(expected.gap);
    if (exponent < 600.0) CHECK(std::abs(gap - exact_gap) <= (1e-12 + 1e-15 * exponent) * std::abs(exact_gap));
  }
}

TEST_CASE("the balanced flow keeps 12 digits over ten decades, from far above the target and from far below") {
  std::mt19937_64 random(21);
  std::uniform_real_distribution<double> decade(-5.0, 5.0), time(-6.0, 6.0);
  for (int i = 0; i < 6000; ++i) {
    const double sign = i % 2 == 0 ? 1.0 : -1.0;
    const Flow f{std::pow(10.0, decade(random) / 2.0), sign * std::pow(10.0, decade(random)), 0.0,
                 sign * (i % 3 == 0 ? -1.0 : 1.0) * std::pow(10.0, decade(random))};
    const double t = std::pow(10.0, time(random));
    const Wide target = abs(Wide(f.target)), start = sign * Wide(f.initial), e = exp(-2 * Wide(f.h) * target * Wide(t));
    // (R − r)/r falls by e^−2hRt; from the other side of 0, (R + |r|)/|r| grows by it.
    const Wide r =
        start > 0 ? Wide(target / (1 + (target / start - 1) * e)) : Wide(-target / ((target / -start + 1) / e - 1));
    const Wide gap = start > 0 ? Wide((target - start) / start * e * r) : Wide(target - r);
    INFO("h " << f.h << " R " << f.target << " r0 " << f.initial << " t " << t);
    const double exponent = flow_rate(f) * t;
    const double allowed = 1e-12 + 1e-15 * std::min(exponent, 1e4);
    if (exponent < 600.0) {
      CHECK(std::abs(sign * flow_position(f, t) - static_cast<double>(r)) <=
            allowed * std::abs(static_cast<double>(r)));
      CHECK(std::abs(sign * flow_gap(f, t) - static_cast<double>(gap)) <= allowed * std::abs(static_cast<double>(gap)));
    }
    CHECK(std::isfinite(flow_position(f, t)));
    CHECK(std::isfinite(flow_gap(f, t)));
  }
}

TEST_CASE("the flow conserves γ² − ‖w‖², shared and own scales what theirs conserve") {
  using State = std::vector<double>;
  std::mt19937_64 random(22);
  std::uniform_real_distribution<double> wide(-1.5, 1.5), curvature(0.2, 2.0);
  for (int trial = 0; trial < 40; ++trial) {
    constexpr int kBranches = 3;
    double h[kBranches], target[kBranches];
    State shared(1 + kBranches), own(2 * kBranches);
    for (int c = 0; c < kBranches; ++c) {
      h[c] = curvature(random);
      target[c] = wide(random);
      shared[static_cast<size_t>(1 + c)] = wide(random);
      own[static_cast<size_t>(c)] = wide(random);
      own[static_cast<size_t>(kBranches + c)] = wide(random);
    }
    shared[0] = wide(random);
    // dγ/dt = −Σ w_c g_c, dw_c/dt = −γ g_c, g_c = h_c(γw_c − R_c); one branch of it is T2's column.
    const auto kept = [&] {
      double k = shared[0] * shared[0];
      for (int c = 0; c < kBranches; ++c) k -= shared[static_cast<size_t>(1 + c)] * shared[static_cast<size_t>(1 + c)];
      return k;
    };
    const double before = kept();
    State own_before;
    const auto own_kept = [&] {
      State k;
      for (size_t c = 0; c < kBranches; ++c) k.push_back(own[c] * own[c] - own[kBranches + c] * own[kBranches + c]);
      return k;
    };
    own_before = own_kept();
    State own_start;
    for (size_t c = 0; c < kBranches; ++c) own_start.push_back(own[c] * own[kBranches + c]);
    integrate_flow(
        [&](const State& x, State& slope) {
          slope[0] = 0.0;
          for (size_t c = 0; c < kBranches; ++c) {
            const double g = h[c] * (x[0] * x[1 + c] - target[c]);
            slope[0] -= x[1 + c] * g;
            slope[1 + c] = -x[0] * g;
          }
        },
        shared, 5.0);
    integrate_flow(
        [&](const State& x, State& slope) {
          for (size_t c = 0; c < kBranches; ++c) {
            const double g = h[c] * (x[c] * x[kBranches + c] - target[c]);
            slope[c] = -x[kBranches + c] * g;
            slope[kBranches + c] = -x[c] * g;
          }
        },
        own, 5.0);
    CHECK(std::abs(kept() - before) <= 1e-10);
    for (size_t c = 0; c < kBranches; ++c) {
      const double k = own_before[c];
      CHECK(std::abs(own_kept()[c] - k) <= 1e-10);
      // The effective weight of a branch is where T3's closed form has it at the conserved k.
      CHECK(std::abs(own[c] * own[kBranches + c] - flow_position({h[c], target[c], k, own_start[c]}, 5.0)) <= 1e-9);
    }
    // The rate at which the loss falls is the preconditioner's: gᵀ(γ²I + wwᵀ)g, between its least and its largest
    // value.
    const std::vector<double> w(shared.begin() + 1, shared.end());
    double w_sq = 0.0, g_sq = 0.0, dot = 0.0;
    for (size_t c = 0; c < kBranches; ++c) {
      const double g = h[c] * (shared[0] * w[c] - target[c]) + 0.1;
      w_sq += w[c] * w[c];
      g_sq += g * g;
      dot += w[c] * g;
    }
    const PreconditionerSpectrum p = preconditioner_spectrum(shared[0], w_sq);
    const double along = dot * dot / w_sq;
    CHECK(std::abs(shared[0] * shared[0] * g_sq + dot * dot - (p.orthogonal * (g_sq - along) + p.along * along)) <=
          1e-12 * (1.0 + g_sq * w_sq));
  }
}

TEST_CASE("a balanced flow takes the time to approach 0 from the target's other side") {
  for (const double sign : {-1.0, 1.0}) {
    const Flow f{1.0, sign, 0.0, -1.5 * sign};
    const double t = flow_time(f, -sign);
    CHECK(t > 0.0);
    CHECK(std::abs(flow_position(f, t) + sign) <= 1e-14);
    const Flow near{1.0, sign, 1e-9, -1.5 * sign};
    CHECK(std::abs(flow_time_to_loss(f, 0.9) - flow_time_to_loss(near, 0.9)) <= 1e-9);
  }
}

TEST_CASE("times invert positions, and steps of the flow compose") {
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> wide(-3.0, 3.0), time(0.01, 2.0);
  for (int i = 0; i < 500; ++i) {
    Flow f{0.7, wide(random), wide(random), wide(random)};
    if (i % 4 == 0) {
      f.imbalance = 0.0;
      f.initial = std::copysign(f.initial, f.target);
    }
    const double t = time(random), r = flow_position(f, t);
    INFO("R " << f.target << " k " << f.imbalance << " r0 " << f.initial << " t " << t);
    CHECK(std::abs(flow_time(f, r) - t) <= 1e-9 * (1.0 + 1.0 / std::abs(flow_gap(f, t))));
    Flow later = f;
    later.initial = r;
    CHECK(std::abs(flow_position(later, 0.3) - flow_position(f, t + 0.3)) <= 1e-12 * 3.0);
    CHECK(flow_position(f, 0.0) == f.initial);
  }
}

TEST_CASE("the flow is continuous at imbalance 0 and odd in the target") {
  for (const double r0 : {0.4, 1.7, -0.4}) {
    const Flow balanced{1.3, 1.0, 0.0, r0};
    Flow near = balanced;
    near.imbalance = 1e-9;
    // From the other side of 0 the balanced flow sticks there, and a small imbalance leaves late: before, they agree.
    for (const double t : {0.1, 1.0, 3.0}) CHECK(std::abs(flow_position(near, t) - flow_position(balanced, t)) <= 2e-6);
    const Flow mirrored{1.3, -1.0, 0.3, -r0}, upright{1.3, 1.0, -0.3, r0};
    CHECK(flow_position(mirrored, 0.8) == -flow_position(upright, 0.8));
    CHECK(flow_gap(mirrored, 0.8) == -flow_gap(upright, 0.8));
  }
  CHECK(flow_position({1.0, 1.0, 0.0, -0.5}, 1e4) <= 0.0);
  CHECK(std::abs(flow_position({1.0, 1.0, 0.0, -0.5}, 1e4)) <= 1e-300);
  CHECK(flow_position({1.0, 1.0, 0.0, 0.0}, 5.0) == 0.0);
  CHECK(std::abs(flow_position({1.0, 0.0, 0.0, 2.0}, 3.0) - 2.0 / 13.0) <= 1e-15);
}

TEST_CASE("the speed-up over no scale has theory's values") {
  // T3: R = 3, k = 1: 2.24, 3.64, 4.54 at relative loss 1e-1, 1e-3, 1e-6, toward √37 = 6.08.
  const Flow f{1.0, 3.0, 1.0, 0.0};
  const auto speedup = [&](double relative) {
    return plain_time_to_loss(1.0, relative) / flow_time_to_loss(f, relative);
  };
  CHECK(std::abs(speedup(1e-1) - 2.24) <= 0.005);
  CHECK(std::abs(speedup(1e-3) - 3.64) <= 0.005);
  CHECK(std::abs(speedup(1e-6) - 4.54) <= 0.005);
  CHECK(std::abs(speedup(1e-300) - std::sqrt(37.0)) <= 0.06);
  CHECK(std::abs(sign_descent_speedup(1.0) - 1.618) <= 0.0005);
  CHECK(std::abs(sign_descent_speedup(10.0) - 3.701) <= 0.001);
  for (const double target : {1e-8, 0.3, 1e6})
    CHECK(std::abs(sign_descent_time(target) * sign_descent_speedup(target) / target - 1.0) <= 1e-15);
}

TEST_CASE("one step of gradient descent changes the imbalance as the exact map says") {
  std::mt19937_64 random(4);
  std::normal_distribution<double> normal;
  for (int i = 0; i < 200; ++i) {
    const double lr = 0.1;
    double gamma = normal(random), w[3], g[3], k = gamma * gamma, after = 0.0, gg = 0.0, wg = 0.0;
    for (int j = 0; j < 3; ++j) {
      w[j] = normal(random);
      g[j] = normal(random);
      k -= w[j] * w[j];
      gg += g[j] * g[j];
      wg += w[j] * g[j];
    }
    const double new_gamma = gamma - lr * wg;
    after = new_gamma * new_gamma;
    for (int j = 0; j < 3; ++j) after -= std::pow(w[j] - lr * gamma * g[j], 2);
    CHECK(std::abs(imbalance_after_step(k, lr, gamma, gg, wg) - after) <= 1e-13);
  }
  // T2: the floor at initial std 0.02 of c = 768, 3072, 8192 rows is 0.69, and then 0; at ‖w‖² = c·0.0004.
  CHECK(std::abs(gamma_sq_floor(1.0, 768 * 0.0004) - 0.6928) <= 1e-12);
  CHECK(gamma_sq_floor(1.0, 3072 * 0.0004) == 0.0);
}

TEST_CASE("arguments outside the flow's domain are named") {
  const auto message = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const std::domain_error& e) {
      return e.what();
    }
    return "";
  };
  CHECK(message([] { flow_position({0.0, 1.0, 1.0, 0.0}, 1.0); }).starts_with("h: got"));
  CHECK(message([] { flow_position({1.0, 1.0, 1.0, 0.0}, -1.0); }).starts_with("t: got"));
  CHECK(message([] { flow_position({1.0, NAN, 1.0, 0.0}, 1.0); }).starts_with("target: got"));
  CHECK(message([] { flow_gap({1.0, 1.0, INFINITY, 0.0}, 1.0); }).starts_with("imbalance: got"));
  CHECK(message([] { flow_time({1.0, 1.0, 1.0, 0.0}, 1.0); }).starts_with("r: got"));
  CHECK(message([] { flow_time({1.0, 1.0, 0.0, 0.0}, 0.5); }).starts_with("initial: got"));
  CHECK(message([] { flow_time({1.0, 1.0, 0.0, -1.0}, 0.5); }).starts_with("r: got"));
  CHECK(message([] { flow_time_to_loss({1.0, 1.0, 1.0, 0.0}, 1.5); }).starts_with("relative: got"));
}
