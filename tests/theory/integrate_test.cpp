#include "theory/integrate.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/catch.hpp"
#include "theory/branches.hpp"
#include "theory/flow.hpp"
#include "theory/input_scale_decay.hpp"
#include "theory/magnitude_direction.hpp"
#include "theory/output_scale_decay.hpp"
#include "theory/placement.hpp"

// Integrated flows: the integrator against solutions known otherwise, then closed forms against it over random
// parameters.
using namespace scalevec;
using namespace scalevec::theory;

namespace {

using State = std::vector<double>;

class UniformDraw {
 public:
  explicit UniformDraw(unsigned seed) : random_(seed) {}
  double between(double low, double high) { return std::uniform_real_distribution<double>(low, high)(random_); }
  double either(double low, double high) { return between(-1.0, 1.0) < 0.0 ? -between(low, high) : between(low, high); }

 private:
  std::mt19937_64 random_;
};

}  // namespace

TEST_CASE("integrated flows are the solutions of equations solved otherwise", "[integrate]") {
  for (const double tolerance : {1e-8, 1e-13}) {
    State turning{1.0, 0.0}, falling{2.0}, still{0.3};
    integrate_flow([](const State& x, State& d) { d = {-x[1], x[0]}; }, turning, 20.0, tolerance);
    CHECK(std::abs(turning[0] - std::cos(20.0)) <= 100.0 * tolerance);
    CHECK(std::abs(turning[1] - std::sin(20.0)) <= 100.0 * tolerance);
    integrate_flow([](const State& x, State& d) { d[0] = -3.0 * x[0] * x[0]; }, falling, 50.0, tolerance);
    CHECK(std::abs(falling[0] - 1.0 / (0.5 + 150.0)) <= 10.0 * tolerance);
    integrate_flow([](const State&, State& d) { d[0] = 1.0; }, still, 0.0, tolerance);
    CHECK(still[0] == 0.3);
  }
  State x{1.0};
  CHECK_THROWS_AS(integrate_flow([](const State& at, State& d) { d[0] = at[0] * at[0]; }, x, 2.0), std::runtime_error);
  const auto said = [](double time, double tolerance) -> std::string {
    State one{1.0};
    try {
      integrate_flow([](const State&, State& d) { d[0] = 0.0; }, one, time, tolerance);
    } catch (const std::domain_error& e) {
      return e.what();
    }
    return "";
  };
  CHECK(said(-1.0, 1e-9).starts_with("time: got"));
  CHECK(said(NAN, 1e-9).starts_with("time: got"));
  CHECK(said(1.0, 0.0).starts_with("tolerance: got"));
}

TEST_CASE("quadratures, kinks, blow-up and the ends of time are integrated or refused", "[integrate]") {
  const auto solve = [](State x, double time, const FlowSlope& slope) {
    integrate_flow(slope, x, time);
    return x;
  };
  // An element that others only drive: an embedded pair whose two formulas agree on it would not see its error.
  CHECK(std::abs(solve({0.0, 0.0}, 200.0,
                       [](const State& x, State& d) {
                         d = {1.0, std::cos(x[0])};
                       })[1] -
                 std::sin(200.0)) <= 1e-9);
  CHECK(std::abs(solve({0.0, 0.0}, 40.0,
                       [](const State& x, State& d) {
                         d = {1.0, std::exp(-x[0])};
                       })[1] -
                 1.0) <= 1e-9);
  // The first step leaves double precision's range, the solution does not.
  CHECK(std::abs(solve({1e4}, 1.0, [](const State& x, State& d) { d[0] = -x[0] * x[0] * x[0]; })[0] -
                 1.0 / std::sqrt(2.0 + 1e-8)) <= 1e-9);
  CHECK(std::abs(solve({0.0}, 1e-17, [](const State&, State& d) { d[0] = 1e20; })[0] - 1000.0) <= 1e-9);
  CHECK(std::abs(solve({1.0}, 1e-15, [](const State& x, State& d) { d[0] = -1e16 * x[0]; })[0] - std::exp(-10.0)) <=
        1e-11);
  CHECK_THROWS_AS(solve({0.0}, 1e9, [](const State&, State& d) { d[0] = 1e300; }), std::runtime_error);
  CHECK_THROWS_AS(solve({1.0}, 2.0, [](const State& x, State& d) { d[0] = x[0] > 0.0 ? -1.0 : 1.0; }),
                  std::runtime_error);
  CHECK_THROWS_AS(solve({NAN}, 1.0, [](const State&, State& d) { d[0] = 1.0; }), std::domain_error);
}

TEST_CASE("T4: coupled decay's imbalance and equilibrium, over random problems", "[integrate]") {
  UniformDraw draw(32);
  for (int i = 0; i < 100; ++i) {
    InputScaleDecay p{draw.between(0.3, 3.0), draw.between(0.3, 3.0), draw.between(0.05, 1.0), draw.between(0.05, 1.0)};
    // Near the threshold below which the group lasso leaves nothing the flow slows down without bound.
    if (std::sqrt(p.decay_gamma * p.decay_w) > 0.6 * p.h * p.target) continue;
    const auto flow = [&p](const State& x, State& d) {
      const double g = p.h * (x[0] * x[1] - p.target);
      d[0] = -g * x[1] - p.decay_gamma * x[0];
      d[1] = -g * x[0] - p.decay_w * x[1];
    };
    State s{draw.between(0.3, 2.0), draw.between(0.1, 2.0)}, slope(2);
    flow(s, slope);
    CHECK(std::abs(2.0 * (s[0] * slope[0] - s[1] * slope[1]) - imbalance_rate(p, s[0] * s[0], s[1] * s[1])) <=
          1e-14 * 50.0);
    integrate_flow(flow, s, 600.0);
    const InputScaleEquilibrium at = group_lasso_equilibrium(p);
    INFO("h " << p.h << " R " << p.target << " decays " << p.decay_gamma << ", " << p.decay_w);
    CHECK(std::abs(s[0] * s[1] - at.length) <= 1e-9);
    CHECK(std::abs(s[0] * s[0] - at.gamma_sq) <= 1e-9);
    CHECK(std::abs(s[1] * s[1] - at.w_sq) <= 1e-9);

    p.decay_w = p.decay_gamma;
    s = {draw.between(0.3, 2.0), draw.between(0.1, 2.0)};
    const double k = s[0] * s[0] - s[1] * s[1], t = draw.between(0.0, 10.0);
    integrate_flow(flow, s, t);
    CHECK(std::abs(s[0] * s[0] - s[1] * s[1] - equal_decay_imbalance(k, p.decay_w, t)) <= 1e-9);
  }
  CHECK(group_lasso_equilibrium({1.0, 0.5, 2.0, 2.0}).length == 0.0);
}

TEST_CASE("T5: the flow over random problems", "[integrate]") {
  UniformDraw draw(33);
  for (int i = 0; i < 100; ++i) {
    const OutputScaleDecay p{draw.between(0.1, 3.0), draw.either(0.0, 3.0), 0.0, draw.between(0.0, 3.0),
                             draw.either(0.0, 2.0)};
    const double start = draw.either(0.0, 3.0), t = draw.between(0.01, 10.0);
    State gamma{start};
    const auto flow = [&p](const State& x, State& d) {
      d[0] = -p.h * (x[0] - p.target) - p.weight_decay * (x[0] - p.decay_target);
    };
    integrate_flow(flow, gamma, t);
    CHECK(std::abs(flow_gamma(p, start, t) - gamma[0]) <= 1e-9);
    integrate_flow(flow, gamma, 40.0 / p.h);
    CHECK(std::abs(flow_equilibrium(p).gamma - gamma[0]) <= 1e-9);
  }
}

TEST_CASE("T6: decay's equilibria of shared and own scales, over random branches", "[integrate]") {
  UniformDraw draw(34);
  for (int i = 0; i < 60; ++i) {
    const std::size_t count = 2 + static_cast<std::size_t>(i % 3);
    const double lambda = draw.between(0.02, 0.3), h = draw.between(0.5, 2.0);
    Branches b;
    State shared{1.0}, own;
    for (std::size_t c = 0; c < count; ++c) {
      b.h.push_back(h);
      b.target.push_back(draw.either(0.8, 2.0));
      shared.push_back(0.3 * b.target[c]);
      own.insert(own.end(), {1.0, 0.3 * b.target[c]});
    }
    integrate_flow(
        [&](const State& x, State& d) {
          d[0] = -lambda * x[0];
          for (std::size_t c = 0; c < count; ++c) {
            const double g = h * (x[0] * x[1 + c] - b.target[c]);
            d[0] -= g * x[1 + c];
            d[1 + c] = -g * x[0] - lambda * x[1 + c];
          }
        },
        shared, 800.0);
    integrate_flow(
        [&](const State& x, State& d) {
          for (std::size_t c = 0; c < count; ++c) {
            const double g = h * (x[2 * c] * x[2 * c + 1] - b.target[c]);
            d[2 * c] = -g * x[2 * c + 1] - lambda * x[2 * c];
            d[2 * c + 1] = -g * x[2 * c] - lambda * x[2 * c + 1];
          }
        },
        own, 800.0);
    const State together = shared_decay_equilibrium(b, lambda), apart = own_decay_equilibrium(b, lambda);
    double together_bias = 0.0, apart_bias = 0.0;
    for (std::size_t c = 0; c < count; ++c) {
      CHECK(std::abs(shared[0] * shared[1 + c] - together[c]) <= 1e-9);
      CHECK(std::abs(own[2 * c] * own[2 * c + 1] - apart[c]) <= 1e-9);
      together_bias += std::pow(together[c] - b.target[c], 2);
      apart_bias += std::pow(apart[c] - b.target[c], 2);
    }
    CHECK(apart_bias > together_bias);  // HG pays more
  }
}

TEST_CASE("T7: along the flow the loss falls at the stated rate, over random maps", "[integrate]") {
  UniformDraw draw(35);
  for (int i = 0; i < 50; ++i) {
    constexpr std::size_t rows = 2, columns = 3;
    State target(rows * columns);
    for (double& x : target) x = draw.either(0.0, 1.5);
    // u, v, W and last the loss that has been lost at the stated rate.
    State s(rows + columns + rows * columns + 1, 0.0);
    for (std::size_t k = 0; k + 1 < s.size(); ++k)
      s[k] = k < rows + columns ? draw.between(0.4, 1.4) : draw.either(0.0, 0.8);
    const auto map = [&](const State& x) {
      TwoSided m{rows,
                 columns,
                 State(x.begin(), x.begin() + rows),
                 State(x.begin() + rows, x.begin() + rows + columns),
                 State(x.begin() + rows + columns, x.end() - 1),
                 State(rows * columns)};
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < columns; ++c) m.g[r * columns + c] = m.theta(r, c) - target[r * columns + c];
      return m;
    };
    const auto loss = [&](const State& x) {
      double sum = 0.0;
      for (const double g : map(x).g) sum += 0.5 * g * g;
      return sum;
    };
    for (const bool both : {true, false}) {
      State at = s;
      integrate_flow(
          [&](const State& x, State& d) {
            const TwoSided m = map(x);
            std::fill(d.begin(), d.end(), 0.0);
            for (std::size_t r = 0; r < rows; ++r)
              for (std::size_t c = 0; c < columns; ++c) {
                const double g = m.g[r * columns + c], w = m.w[r * columns + c];
                if (both) d[r] -= g * w * m.v[c];
                d[rows + c] -= g * m.u[r] * w;
                d[rows + columns + r * columns + c] -= g * m.u[r] * m.v[c];
              }
            d.back() = both ? both_sides_flow_rate(m) : input_side_flow_rate(m);
          },
          at, 2.0);
      CHECK(std::abs(loss(s) - loss(at) - at.back()) <= 1e-9);
    }
  }
}

TEST_CASE("T8: decay on OR's β and on ER's b, over random problems", "[integrate]") {
  UniformDraw draw(36);
  for (int i = 0; i < 60; ++i) {
    const double h = draw.between(0.2, 2.0), d = std::floor(draw.between(1.0, 40.0)), decay = draw.between(0.0, 20.0);
    const double beta_target = draw.either(0.1, 3.0), rms_target = draw.between(0.1, 10.0);
    State beta{1.0}, b{0.0};
    integrate_flow([&](const State& x, State& out) { out[0] = -h * d * (x[0] - beta_target) - decay * x[0]; }, beta,
                   60.0 / (h * d));
    CHECK(std::abs(or_beta_flow_equilibrium(h, d, beta_target, decay) - beta[0]) <= 1e-9);
    // At the slowest the pull outward is hdR² (R small, b far below 0).
    integrate_flow([&](const State& x,
                       State& out) { out[0] = -h * d * (std::exp(x[0]) - rms_target) * std::exp(x[0]) - decay * x[0]; },
                   b, 60.0 / (h * d * std::min(1.0, rms_target * rms_target)));
    INFO("h " << h << " d " << d << " R " << rms_target << " decay " << decay);
    CHECK(std::abs(er_rms_flow_equilibrium(h, d, rms_target, decay) - std::exp(b[0])) <= 1e-9);
  }
}
