#include <array>
#include <cmath>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/catch.hpp"
#include "theory/branches.hpp"
#include "theory/flow.hpp"
#include "theory/input_scale_decay.hpp"
#include "theory/integrate.hpp"
#include "theory/magnitude_direction.hpp"
#include "theory/output_scale_decay.hpp"
#include "theory/placement.hpp"
#include "theory/power_law.hpp"
#include "theory/scale_invariance.hpp"

using namespace scalevec;
using namespace scalevec::theory;

namespace {

using State = std::vector<double>;

double near(double a, double b) { return std::abs(a - b) / std::max(std::abs(a), std::abs(b)); }

}  // namespace

TEST_CASE("T4: curvatures at a minimum are those of the Hessian by differences") {
  const std::vector<double> h{1.0, 4.0, 0.5}, theta{0.3, -0.8, 0.5};
  for (const double k : {-1.22, 0.0, 0.7}) {
    double length_sq = 0.0;
    for (const double x : theta) length_sq += x * x;
    const InputScaleEquilibrium at = split_length(std::sqrt(length_sq), k);
    const double gamma = std::sqrt(at.gamma_sq);
    CHECK(std::abs(at.gamma_sq - at.w_sq - k) <= 1e-14);
    const auto loss = [&](const std::array<double, 4>& x) {
      double sum = 0.0;
      for (std::size_t i = 0; i < 3; ++i) sum += 0.5 * h[i] * std::pow(x[3] * x[i] - theta[i], 2);
      return sum;
    };
    // trace and Σ of squares of the eigenvalues against the matrix of second differences.
    const std::array<double, 4> x{theta[0] / gamma, theta[1] / gamma, theta[2] / gamma, gamma};
    const double step = 1e-4;
    double trace = 0.0, squares = 0.0;
    for (std::size_t i = 0; i < 4; ++i)
      for (std::size_t j = 0; j < 4; ++j) {
        const auto at_offset = [&](double a, double b) {
          std::array<double, 4> y = x;
          y[i] += a * step;
          y[j] += b * step;
          return loss(y);
        };
        const double second =
            (at_offset(1, 1) - at_offset(1, -1) - at_offset(-1, 1) + at_offset(-1, -1)) / (4 * step * step);
        if (i == j) trace += second;
        squares += second * second;
      }
    double sum = 0.0, sum_sq = 0.0;
    for (const double value : curvature_spectrum(h, theta, k)) {
      sum += value;
      sum_sq += value * value;
    }
    CHECK(std::abs(sum - trace) <= 1e-6);
    CHECK(std::abs(sum_sq - squares) <= 1e-5);
    const std::vector<double> isotropic = curvature_spectrum({2.0, 2.0, 2.0}, theta, k);
    CHECK(near(isotropic.back(), top_curvature(2.0, std::sqrt(length_sq), k)) <= 1e-12);
    double isotropic_sum = 0.0;
    for (const double value : isotropic) isotropic_sum += value;
    CHECK(near(isotropic_sum, curvature_trace(2.0, std::sqrt(length_sq), k, 3.0)) <= 1e-12);
  }
}

TEST_CASE("T6: the shared rate is at least HG's where residuals agree, and its condition number is the flow's") {
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  for (int i = 0; i < 20000; ++i) {
    const std::size_t c = 2 + static_cast<std::size_t>(i % 4);
    std::vector<double> w(c), g(c), own(c);
    double w_sq = 0.0;
    for (std::size_t j = 0; j < c; ++j) {
      w[j] = std::abs(normal(random));
      g[j] = std::abs(normal(random));
      own[j] = std::sqrt(1.0 + w[j] * w[j]);
      w_sq += w[j] * w[j];
    }
    REQUIRE(shared_rate(std::sqrt(1.0 + w_sq), w, g) >= own_rate(own, w, g) * (1.0 - 1e-14));
  }
  // Cancelling residuals, each design at the same θ on its own trajectory from k = 1: the shared vector is slower, but
  // never by more than √2, whatever C (T6 says √C): two branches as long as each other come next to it.
  const auto slower = [](const std::vector<double>& theta, const std::vector<double>& grad) {
    double length_sq = 0.0;
    for (const double x : theta) length_sq += x * x;
    const double gamma = std::sqrt(split_length(std::sqrt(length_sq), 1.0).gamma_sq);
    std::vector<double> w, own_gamma, own_w;
    for (const double x : theta) {
      const InputScaleEquilibrium alone = split_length(std::abs(x), 1.0);
      w.push_back(x / gamma);
      own_gamma.push_back(std::sqrt(alone.gamma_sq));
      own_w.push_back(std::copysign(std::sqrt(alone.w_sq), x));
    }
    return own_rate(own_gamma, own_w, grad) / shared_rate(gamma, w, grad);
  };
  CHECK(std::abs(slower({1e4, -1e4}, {1.0, 1.0}) - std::sqrt(2.0)) <= 1e-3);
  for (int i = 0; i < 50000; ++i) {
    std::vector<double> theta, grad;
    for (int c = 0; c < 2 + i % 7; ++c) {
      theta.push_back(std::exp(2.0 * normal(random)) * (i % 3 == c ? -1.0 : 1.0));
      grad.push_back(normal(random) * std::exp(1.5 * normal(random)));
    }
    REQUIRE(slower(theta, grad) <= std::sqrt(2.0));
  }
  // One branch: the same.
  CHECK(own_rate({1.0}, {0.4}, {1.0}) == shared_rate(1.0, {0.4}, {1.0}));
  // Two branches: eigenvalues of P H in closed form from trace and determinant.
  const Branches b{{1.0, 0.01}, {0.1, 10.0}};
  const InputScaleEquilibrium at = split_length(std::hypot(0.1, 10.0), 1.0);
  const double p11 = at.gamma_sq + 0.01 / at.gamma_sq, p22 = at.gamma_sq + 100.0 / at.gamma_sq, p12 = 1.0 / at.gamma_sq;
  const double trace = p11 * 1.0 + p22 * 0.01, det = 0.01 * (p11 * p22 - p12 * p12);
  const double root = std::sqrt(trace * trace - 4.0 * det);
  CHECK(near(shared_curvatures(b, 1.0).condition_number(), (trace + root) * (trace + root) / (4.0 * det)) <= 1e-12);
  CHECK(near(own_curvatures(b, 1.0).condition_number(), std::hypot(1.0, 0.2) / (0.01 * std::hypot(1.0, 20.0))) <=
        1e-14);
}

TEST_CASE("T7: rates are derivatives of the loss, DP is at least as fast at u = 1, and the counterexample stands") {
  std::mt19937_64 random(6);
  std::normal_distribution<double> normal;
  for (int i = 0; i < 2000; ++i) {
    TwoSided m{3, 4, {1, 1, 1}, State(4), State(12), State(12)};
    for (double* values : {m.v.data()})
      for (int j = 0; j < 4; ++j) values[j] = normal(random);
    for (std::size_t j = 0; j < 12; ++j) {
      m.w[j] = normal(random);
      m.g[j] = normal(random);
    }
    REQUIRE(both_sides_flow_rate(m) >= input_side_flow_rate(m));
    REQUIRE(both_sides_sign_rate(m) >= input_side_sign_rate(m));
    if (i >= 50) continue;
    for (double& u : m.u) u = normal(random);
    // The loss Σ G_ij θ_ij moved by a small step along the negative gradient.
    const auto value = [&](const TwoSided& at) {
      double sum = 0.0;
      for (std::size_t r = 0; r < 3; ++r)
        for (std::size_t c = 0; c < 4; ++c) sum += m.g[r * 4 + c] * at.theta(r, c);
      return sum;
    };
    const auto moved = [&](double step) {
      TwoSided next = m;
      for (std::size_t r = 0; r < 3; ++r)
        for (std::size_t c = 0; c < 4; ++c) {
          const double g = m.g[r * 4 + c];
          next.w[r * 4 + c] -= step * m.u[r] * m.v[c] * g;
          next.u[r] -= step * m.w[r * 4 + c] * m.v[c] * g;
          next.v[c] -= step * m.u[r] * m.w[r * 4 + c] * g;
        }
      return value(next);
    };
    const double slope = (moved(-1e-5) - moved(1e-5)) / 2e-5;
    CHECK(near(slope, both_sides_flow_rate(m)) <= 1e-7);
  }
  // T7: θ = (10, 0)ᵀ, g = (0, 1)ᵀ: 5.0 with both sides against 10.5 with the input side, each on its own trajectory.
  const double three = std::cbrt(10.0);  // u₁² − w² = v² − w² = 1 has u = v; solved below
  double w = three;
  for (int i = 0; i < 200; ++i) w = 10.0 / (1.0 + w * w) * 0.3 + 0.7 * w;
  const double side = std::sqrt(1.0 + w * w);
  const TwoSided both{2, 1, {side, 1.0}, {side}, {w, 0.0}, {0.0, 1.0}};
  const InputScaleEquilibrium one = split_length(10.0, 1.0);
  const TwoSided input{2, 1, {1.0, 1.0}, {std::sqrt(one.gamma_sq)}, {std::sqrt(one.w_sq), 0.0}, {0.0, 1.0}};
  CHECK(std::abs(both.theta(0, 0) - 10.0) <= 1e-6);
  CHECK(std::abs(both_sides_flow_rate(both) - 5.0) <= 0.05);
  CHECK(std::abs(input_side_flow_rate(input) - 10.5) <= 0.05);
}

TEST_CASE("T7: the flow with both sides conserves every row's and column's imbalance") {
  TwoSided m{2, 3, {1.1, 0.7}, {0.9, 1.2, -0.4}, {0.2, -0.3, 0.5, 0.1, 0.6, -0.2}, State(6)};
  const State target{1.0, -0.5, 0.3, 0.2, 0.8, -1.0};
  const std::vector<double> rows = row_imbalances(m), columns = column_imbalances(m);
  State s = m.u;
  s.insert(s.end(), m.v.begin(), m.v.end());
  s.insert(s.end(), m.w.begin(), m.w.end());
  integrate_flow(
      [&](const State& x, State& dx) {
        std::fill(dx.begin(), dx.end(), 0.0);
        for (std::size_t i = 0; i < 2; ++i)
          for (std::size_t j = 0; j < 3; ++j) {
            const double u = x[i], v = x[2 + j], w = x[5 + i * 3 + j], g = u * w * v - target[i * 3 + j];
            dx[i] -= g * w * v;
            dx[2 + j] -= g * u * w;
            dx[5 + i * 3 + j] -= g * u * v;
          }
      },
      s, 5.0);
  m.u.assign(s.begin(), s.begin() + 2);
  m.v.assign(s.begin() + 2, s.begin() + 5);
  m.w.assign(s.begin() + 5, s.end());
  for (std::size_t i = 0; i < 2; ++i) CHECK(std::abs(row_imbalances(m)[i] - rows[i]) <= 1e-10);
  for (std::size_t j = 0; j < 3; ++j) CHECK(std::abs(column_imbalances(m)[j] - columns[j]) <= 1e-10);
}

TEST_CASE("T8: amplifications are those of the Jacobians by differences") {
  const std::size_t d = 5;
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal;
  State alpha(d);
  double alpha_sq = 0.0;
  for (double& a : alpha) alpha_sq += std::pow(a = normal(random), 2);
  const double beta = 1.3, dd = static_cast<double>(d);
  using Form = double (*)(double beta, double scale, double a, double norm);
  struct Case {
    Form form;
    Amplification expected;
  };
  const double b = 0.4;
  const std::vector<Case> cases = {
      {[](double m, double s, double a, double n) { return m * s * a / n; }, or_amplification(dd, beta, alpha_sq)},
      {[](double m, double, double a, double) { return m * a; }, product_amplification(beta, alpha_sq)},
      {[](double m, double s, double a, double n) { return std::exp(m) * s * a / n; },
       er_amplification(dd, b, alpha_sq)}};
  for (std::size_t form = 0; form < cases.size(); ++form) {
    const double magnitude = form == 2 ? b : beta;
    const auto gamma = [&](double m, const State& a) {
      double sq = 0.0;
      for (const double x : a) sq += x * x;
      State out;
      for (const double x : a) out.push_back(cases[form].form(m, std::sqrt(dd), x, std::sqrt(sq)));
      return out;
    };
    // ‖Jᵀv‖² for v along γ and for a v orthogonal to it.
    State along = alpha, across(d, 0.0);
    for (double& x : along) x /= std::sqrt(alpha_sq);
    across[0] = along[1];
    across[1] = -along[0];
    const double norm = std::hypot(across[0], across[1]);
    for (double& x : across) x /= norm;
    const auto amplified = [&](const State& v) {
      double sum = 0.0;
      for (std::size_t p = 0; p <= d; ++p) {
        const auto shifted = [&](double by) {
          State a = alpha;
          double m = magnitude;
          (p < d ? a[p] : m) += by;
          const State out = gamma(m, a);
          double dot = 0.0;
          for (std::size_t i = 0; i < d; ++i) dot += v[i] * out[i];
          return dot;
        };
        sum += std::pow((shifted(1e-5) - shifted(-1e-5)) / 2e-5, 2);
      }
      return sum;
    };
    INFO("form " << form);
    CHECK(near(amplified(along), cases[form].expected.magnitude) <= 1e-8);
    CHECK(near(amplified(across), cases[form].expected.orthogonal) <= 1e-8);
  }
}

TEST_CASE("T8 and T9: limits and theory's values") {
  CHECK(or_adam_amplification(1.0, 0.3) == 1.0);
  CHECK(or_adam_amplification(256.0, 0.0) == 16.0);
  CHECK(std::abs(or_adam_amplification(256.0, 1e200) - 1.0) <= 1e-15);
  // d = 256: s = 1 gives 1.41, .1 gives 8.52, .01 gives 15.8.
  CHECK(std::abs(or_adam_amplification(256.0, 1.0) - 1.41) <= 0.005);
  CHECK(std::abs(or_adam_amplification(256.0, 0.1) - 8.52) <= 0.005);
  CHECK(std::abs(or_adam_amplification(256.0, 0.01) - 15.8) <= 0.05);
  CHECK(or_beta_flow_equilibrium(1.0, 256.0, 2.0, 0.0) == 2.0);
  // T9: AdamW's rotation .01026 at ηλ = 1e-3, β₁ = 0.9.
  CHECK(std::abs(adamw_rotation(1e-2, 0.1, 0.9, 64.0).angle - 0.01026) <= 5e-6);
  // Without momentum coupled and decoupled decay are the same.
  const Rotation a = sgd_coupled_rotation(0.1, 0.01, 0.0, 2.0), c = sgd_decoupled_rotation(0.1, 0.01, 0.0, 2.0);
  CHECK(a.norm == c.norm);
  CHECK(a.angle == c.angle);
  CHECK_THROWS_AS(adamw_rotation(0.0, 0.1, 0.9, 8.0), std::domain_error);
  CHECK_THROWS_AS(or_adam_amplification(0.5, 1.0), std::domain_error);
  CHECK_THROWS_AS(top_curvature(1.0, NAN, 0.0), std::domain_error);
  CHECK_THROWS_AS(shared_curvatures({{1.0}, {1.0, 2.0}}, 1.0).condition_number(), std::domain_error);
}

TEST_CASE("what is not a number is refused by the argument's name") {
  const auto said = [](const auto& call) {
    try {
      call();
    } catch (const std::domain_error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(said([] { shared_rate(NAN, {1.0}, {1.0}); }).starts_with("gamma: got"));
  CHECK(said([] { shared_rate(1.0, {INFINITY}, {1.0}); }).starts_with("w: got"));
  CHECK(said([] { own_rate({1.0}, {1.0}, {NAN}); }).starts_with("grad: got"));
  CHECK(said([] { both_sides_flow_rate({1, 1, {NAN}, {1.0}, {1.0}, {1.0}}); }).size() > 0);
  CHECK(said([] { imbalance_after_step(1.0, 0.1, NAN, 1.0, 1.0); }).starts_with("gamma: got"));
  CHECK(said([] { imbalance_after_step(1.0, 0.1, 1.0, 1.0, NAN); }).starts_with("w_dot_grad: got"));
  CHECK(said([] {
          flow_position({1.0, 1.0, 1e-160, 0.05}, 1.0);
        }) == "imbalance: got 1e-160; allowed: 0, or at least 1e-140 of the larger of |target| and |initial|");
  CHECK(std::isfinite(flow_position({1.0, 1.0, 1e-130, -0.05}, 1.0)));
  CHECK(said([] { flow_position({-1e-10, 1.0, 1.0, 0.0}, 1.0); }) == "h: got -1e-10; allowed: more than 0");
  // Where products leave double precision's range, a name and not NaN.
  CHECK(said([] { flow_gap({1e200, 1e200, 0.0, 1.0}, 1.0); }).starts_with("h: got"));
  CHECK(said([] { flow_position({1.0, 1e308, 1e308, 0.0}, 1.0); }).starts_with("h: got"));
  CHECK(flow_gap({1e100, 1e100, 1e100, 3e99}, 0.0) == 7e99);
  CHECK(said([] { adamw_input_scale({1e-300, 1.0, 0.1, 0.1}, 1e20, 1e-3, 16.0); }).starts_with("sigma: got"));
  CHECK(adamw_input_scale({1.0, 1.0, 0.1, 0.1}, 5e-324, 1e-3, 16.0).at.gamma_sq > 0.5);
  CHECK(adamw_relaxation_rate({1.0, 2.0, 5e-324, 0.9, 0.0}) == 0.9);
  CHECK(said([] { or_alpha_sq(1.0, 0.1, 10.0); }).starts_with("d: got"));
  CHECK(said([] { PowerLaw{1.0, 1.0, 0.1}.loss(-1.0); }).starts_with("compute: got"));
}
