#include "theory/scale_ratio.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/draw.hpp"
#include "tests/support/reference_optimizers.hpp"
#include "theory/integrate.hpp"

// T12, T13: ratios of a column's length to its scale against plain loops of the optimizers.
using namespace scalevec;
using namespace scalevec::theory;

namespace {

enum class PairMethod { sgd, adamw, lion };

struct PairRun {
  PairMethod method = PairMethod::sgd;
  std::size_t rows = 16, replicas = 8;
  double h = 1.0, target = 1.0, sigma = 1.0, along = 1.0;  // along: the noise's variance on row 0 over the others'
  double lr_w = 0.0, lr_gamma = 0.0, decay_w = 0.0, decay_gamma = 0.0;  // decays per step
  double growth = 0.0;                                                  // of the target per step
  double beta1 = 0.9, beta2 = 0.99;
};

struct PairSquares {
  double w = 0.0, gamma = 0.0;
  std::vector<double> q;  // ‖w‖/γ of each replica

  // Of ln q's mean over replicas.
  double standard_error() const {
    double mean = 0.0, squares = 0.0;
    const auto n = static_cast<double>(q.size());
    for (const double x : q) mean += std::log(x) / n;
    for (const double x : q) squares += (std::log(x) - mean) * (std::log(x) - mean);
    return std::sqrt(squares / (n - 1.0) / n);
  }
};

// E‖w‖² and E γ² after each of `at` (ascending), from γ‖w‖ = R at the ratio ‖w‖/γ = q.
std::vector<PairSquares> simulate_pair(const PairRun& p, double q, const std::vector<long>& at, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::vector<PairSquares> out(at.size());
  const std::size_t c = p.rows;
  const bool adam = p.method == PairMethod::adamw, lion = p.method == PairMethod::lion;
  for (std::size_t r = 0; r < p.replicas; ++r) {
    std::vector<double> w(c + 1, 0.0), m(c + 1, 0.0), v(c + 1, 0.0), g(c + 1);  // γ is the last
    w[c] = std::sqrt(p.target / q);
    w[0] = p.target / w[c];
    std::size_t next = 0;
    double target = p.target;
    for (long t = 1; next < at.size(); ++t) {
      g[c] = 0.0;
      for (std::size_t i = 0; i < c; ++i) {
        const double noise = p.sigma * normal(random) * (i == 0 ? std::sqrt(p.along) : 1.0);
        const double e = p.h * (w[c] * w[i] - (i == 0 ? target : 0.0)) + noise;
        g[i] = w[c] * e;
        g[c] += w[i] * e;
      }
      const double c1 = 1.0 - std::pow(p.beta1, t), c2 = 1.0 - std::pow(p.beta2, t);
      for (std::size_t i = 0; i <= c; ++i) {
        double u = g[i];
        if (adam) {
          m[i] = p.beta1 * m[i] + (1.0 - p.beta1) * g[i];
          v[i] = p.beta2 * v[i] + (1.0 - p.beta2) * g[i] * g[i];
          u = m[i] / c1 / std::sqrt(v[i] / c2);
        } else if (lion) {
          u = p.beta1 * m[i] + (1.0 - p.beta1) * g[i] > 0.0 ? 1.0 : -1.0;
          m[i] = p.beta2 * m[i] + (1.0 - p.beta2) * g[i];
        }
        w[i] -= (i == c ? p.lr_gamma : p.lr_w) * u + (i == c ? p.decay_gamma : p.decay_w) * w[i];
      }
      target *= 1.0 + p.growth;
      while (next < at.size() && at[next] == t) {
        double length = 0.0;
        for (std::size_t i = 0; i < c; ++i) length += w[i] * w[i];
        out[next].w += length / static_cast<double>(p.replicas);
        out[next].q.push_back(std::sqrt(length) / std::abs(w[c]));
        out[next++].gamma += w[c] * w[c] / static_cast<double>(p.replicas);
      }
    }
  }
  return out;
}

std::vector<long> twelve_times(long steps) {
  std::vector<long> at;
  for (int i = 1; i <= 12; ++i) at.push_back(std::max(1L, steps * i / 12));
  at.erase(std::unique(at.begin(), at.end()), at.end());
  return at;
}

}  // namespace

// Paths from a quarter or four times the fixed point over two relaxation times; 8 replicas, whose ratios scatter by
// some 15 % at most: a mean by 5 %. 25 % beside the formula's own error below 8 % is a false alarm in fewer than one of
// 100 draws for a point, so that two points of a path must be off to fail.
TEST_CASE("T13: SGD's ratio follows its path, with decay, anisotropic noise and lrs of their own") {
  Arguments draw(13);
  int held = 0;
  for (int i = 0; i < 20000 && held < 24; ++i) {
    PairRun p;
    p.rows = static_cast<std::size_t>(draw.size(2.0, 33.0));
    p.h = draw.size(0.3, 3.0);
    p.target = draw.size(0.3, 3.0);
    p.sigma = draw.size(0.1, 2.0);
    p.lr_w = draw.size(3e-3, 0.1);
    p.lr_gamma = i % 3 ? p.lr_w : p.lr_w * draw.size(0.3, 3.0);
    p.along = i % 4 ? 1.0 : draw.size(0.2, 2.0);
    const double noise = p.lr_w * p.lr_w * p.sigma * p.sigma;
    p.decay_w = i % 2 ? noise * draw.size(0.1, 5.0) : 0.0;
    p.decay_gamma = i % 5 < 2 ? noise * draw.size(0.1, 10.0) : 0.0;
    const double c = static_cast<double>(p.rows), trace = (c - 1.0 + p.along) / c;
    const RatioSgd problem{
        c, p.sigma * std::sqrt(trace), p.along / trace, p.lr_w, p.lr_gamma, p.decay_w, p.decay_gamma};
    const RatioFlow flow = sgd_ratio(problem);
    const double from = settled_ratio(flow) * (i % 2 ? 4.0 : 0.25);
    const auto steps = static_cast<long>(2.0 / ratio_relaxation(flow));
    if (steps > 15000 || !sgd_ratio_holds(problem, p.h, p.target, from) ||
        !sgd_ratio_holds(problem, p.h, p.target, settled_ratio(flow)))
      continue;
    ++held;
    const std::vector<long> at = twelve_times(steps);
    const std::vector<PairSquares> got = simulate_pair(p, std::sqrt(from), at, static_cast<std::uint64_t>(i));
    int off = 0;
    double worst = 0.0;
    for (std::size_t k = 0; k < at.size(); ++k) {
      const double error =
          std::abs(std::log(got[k].w / got[k].gamma / ratio_after(flow, from, static_cast<double>(at[k]))));
      off += error > 0.25;
      worst = std::max(worst, error);
    }
    INFO("c " << c << " h " << p.h << " R " << p.target << " sigma " << p.sigma << " lrs " << p.lr_w << " "
              << p.lr_gamma << " along " << p.along << " decays " << p.decay_w << " " << p.decay_gamma << " from "
              << from << " steps " << steps << " worst " << worst);
    CHECK(off < 2);
  }
  CHECK(held == 24);
}

namespace {

// Updates that do not see the gradient's size: Lion's where i is odd, AdamW's where it is even.
struct NormalisedCase {
  bool lion;
  PairRun run;
  RatioNormalised problem;
  RatioFlow flow;
  double end, from;
  long steps;

  NormalisedCase(Arguments& draw, int i) : lion(i % 2 != 0) {
    run.method = lion ? PairMethod::lion : PairMethod::adamw;
    run.rows = static_cast<std::size_t>(draw.size(2.0, 33.0));
    run.h = draw.size(0.5, 30.0);
    run.target = draw.size(0.3, 3.0);
    run.sigma = run.h * draw.size(0.05, 5.0);
    run.lr_w = draw.size(3e-4, 3e-2);
    run.lr_gamma = i % 5 ? run.lr_w : run.lr_w * draw.size(0.3, 3.0);
    run.decay_w = i % 4 ? run.lr_w * run.lr_w / run.target * draw.size(0.1, 5.0) : 0.0;
    run.decay_gamma = i % 5 < 2 ? run.lr_w * run.lr_w / run.target * draw.size(0.1, 10.0) : 0.0;
    run.beta2 = lion ? (i % 3 ? 0.9 : 0.97) : std::array{0.95, 0.99, 0.999}[static_cast<std::size_t>(i % 3)];
    run.replicas = 24;
    const auto c = static_cast<double>(run.rows);
    problem = lion ? lion_pair(c, run.target, run.lr_w, run.lr_gamma, run.beta1, run.beta2)
                   : adamw_pair(c, run.target, run.lr_w, run.lr_gamma);
    problem.decay_w = run.decay_w;
    problem.decay_gamma = run.decay_gamma;
    if (!lion) problem = with_second_moments(problem, c, run.h, run.sigma, run.beta2);
    flow = normalised_ratio(problem);
    end = settled_ratio(flow);
    from = end * (i % 4 < 2 ? 2.0 : 0.5);
    steps = static_cast<long>(2.0 / ratio_relaxation(flow));
  }

  bool holds() const {
    return normalised_ratio_holds(problem, run.h, run.sigma, from) &&
           normalised_ratio_holds(problem, run.h, run.sigma, end);
  }
  // Of the ratio's logarithm.
  double error(const PairSquares& got, long at) const {
    return std::abs(std::log(std::sqrt(got.w / got.gamma) / ratio_after(flow, from, static_cast<double>(at))));
  }
  std::string text() const {
    std::ostringstream out;
    out << (lion ? "Lion" : "AdamW") << " c " << run.rows << " h " << run.h << " R " << run.target << " sigma "
        << run.sigma << " lrs " << run.lr_w << " " << run.lr_gamma << " betas " << run.beta1 << " " << run.beta2
        << " decays " << run.decay_w << " " << run.decay_gamma << " from " << from << " to " << end << " steps "
        << steps;
    return out.str();
  }
};

}  // namespace

// A point may be off by what first order neglects, as normalised_ratio_error() estimates it at the path's two ends, and
// five standard errors of its 24 replicas: Student's t with 23 degrees of freedom is beyond them in 5 of 100,000 draws,
// one of the 240 points of a right formula in 1 of 85 runs of new seeds. The rule was fixed before the points were
// drawn.
TEST_CASE("T12, T13: AdamW's and Lion's ratio ‖w‖/γ follows its path within its stated error") {
  Arguments draw(27182);
  int held[2] = {0, 0};
  for (int i = 0; i < 400000 && (held[0] < 12 || held[1] < 8); ++i) {
    const NormalisedCase c(draw, i);
    if (held[c.lion] == (c.lion ? 8 : 12) || c.steps > 40000 || !c.holds()) continue;
    ++held[c.lion];
    const double stated = std::max(normalised_ratio_error(c.problem, c.run.h, c.run.sigma, c.from),
                                   normalised_ratio_error(c.problem, c.run.h, c.run.sigma, c.end));
    const std::vector<long> at = twelve_times(c.steps);
    const std::vector<PairSquares> got = simulate_pair(c.run, c.from, at, 7000 + static_cast<std::uint64_t>(i));
    double worst = 0.0, allowed = 0.0;
    for (std::size_t k = 0; k < at.size(); ++k) {
      const double may = stated + 5.0 * got[k].standard_error(), error = c.error(got[k], at[k]);
      if (error / may > worst) {
        worst = error / may;
        allowed = may;
      }
    }
    INFO(c.text() << " stated " << stated << " allowed " << allowed);
    CHECK(worst <= 1.0);
  }
  CHECK(held[0] == 12);
  CHECK(held[1] == 8);
}

// The share is its equation's root; its limits.
TEST_CASE("T13: second moments that follow leave the share r/(r + 1 − β₂) at the ratio they lead to") {
  Arguments draw(28);
  for (int i = 0; i < 200; ++i) {
    const double rows = draw.size(1.0, 1e4), target = draw.size(1e-3, 1e3), lr = draw.size(1e-6, 1e-1),
                 lr_gamma = i % 2 ? lr : lr * draw.size(0.01, 100.0), h = draw.size(1e-3, 1e3),
                 sigma = draw.size(1e-3, 1e3), beta2 = 1.0 - draw.size(1e-6, 1.0);
    RatioNormalised pair = adamw_pair(rows, target, lr, lr_gamma);
    if (i % 3) pair.decay_w = draw.size(1e-9, 1e-3);
    if (i % 5 < 3) pair.decay_gamma = draw.size(1e-9, 1e-3);
    const RatioNormalised got = with_second_moments(pair, rows, h, sigma, beta2);
    const double q = settled_ratio(normalised_ratio(got)), gamma = std::sqrt(target / q);
    const double rate = h * gamma / sigma * (lr + lr_gamma * q);
    INFO("rows " << rows << " lrs " << lr << " " << lr_gamma << " beta2 " << beta2 << " share " << got.noise_gamma);
    CHECK(std::abs(got.noise_gamma * (rate + 1.0 - beta2) / rate - 1.0) <= 1e-9);
    CHECK(std::abs(got.noise_w - (rows - 1.0 + got.noise_gamma)) <= 1e-12 * rows);
    if (pair.decay_w == 0.0 && pair.decay_gamma == 0.0 && lr == lr_gamma)
      CHECK(std::abs(q / (1.0 + (rows - 1.0) * (1.0 + (1.0 - beta2) / rate)) - 1.0) <= 1e-9);
  }
  const RatioNormalised pair = adamw_pair(16.0, 1.0, 1e-3, 1e-3);
  CHECK(std::abs(settled_ratio(normalised_ratio(with_second_moments(pair, 16.0, 1e3, 1.0, 1.0 - 1e-9))) - 16.0) <=
        1e-5);
  CHECK_THROWS_AS(with_second_moments(pair, 16.0, 0.0, 1.0, 0.99), std::domain_error);
  CHECK_THROWS_AS(with_second_moments(pair, 16.0, 1.0, 1.0, 1.0), std::domain_error);
}

// n_s against the sums over steps that its docstring gives, formed directly; its limits.
TEST_CASE("T13: the noise that Lion's shared signs leave is its double sum, below the signs' own") {
  for (const double beta1 : {0.05, 0.5, 0.9, 0.98})
    for (const double beta2 : {0.0, 0.3, 0.9, 0.99}) {
      const std::size_t n = 200 + static_cast<std::size_t>(20.0 / (1.0 - beta2));
      std::vector<double> f{1.0 - beta1};
      for (std::size_t k = 1; k < n; ++k)
        f.push_back(beta1 * (1.0 - beta2) * std::pow(beta2, static_cast<double>(k) - 1.0));
      double all = 0.0, seen = 0.0, sum = 0.0;
      for (const double x : f) all += x * x;
      for (std::size_t m = 1; m < n; ++m) {
        seen += f[m - 1] * f[m - 1];
        double rho = 0.0;
        for (std::size_t j = 0; j + m < n; ++j) rho += f[j] * f[j + m] / all;
        sum += rho / std::sqrt(1.0 - rho * rho) * seen / all;
      }
      INFO("betas " << beta1 << " " << beta2);
      const double shared = lion_shared_noise(beta1, beta2);
      CHECK(std::abs(shared / (4.0 / std::acos(-1.0) * sum) - 1.0) <= 1e-6);
      CHECK(shared < 0.5 * lion_update_noise(2.0, beta1, beta2).long_run());
    }
  CHECK(lion_shared_noise(0.0, 0.9) == 0.0);
  CHECK_THROWS_AS(lion_shared_noise(1.0, 0.9), std::domain_error);
  CHECK_THROWS_AS(lion_shared_noise(0.9, -0.1), std::domain_error);
  // Nothing brings the ratio down.
  CHECK_THROWS_AS(settled_ratio(normalised_ratio(lion_pair(4.0, 1.0, 0.1, 0.1, 0.0, 0.9))), std::domain_error);
}

// The signal's growth of R at a steady share per step, beside SGD's noise. 16 replicas.
TEST_CASE("T13: a growing target holds the ratio below the noise's, as growth_of_ratio says") {
  PairRun p;
  p.replicas = 16;
  p.rows = 16;
  p.sigma = 0.5;
  p.lr_w = p.lr_gamma = 0.02;
  const RatioSgd problem{16.0, 0.5, 1.0, 0.02, 0.02};
  const RatioFlow still = sgd_ratio(problem);
  for (const double share : {0.5, 3.0}) {
    p.growth = share * 0.02 * 0.02 * 0.25;
    const RatioFlow flow = with_growth(still, p.growth);
    const double end = settled_ratio(flow);
    CHECK(std::abs(end - (16.0 + share) / (1.0 + share)) <= 1e-9);
    CHECK(std::abs(growth_of_ratio(still, end) / p.growth - 1.0) <= 1e-9);
    const std::vector<long> at = twelve_times(6000);
    const std::vector<PairSquares> got = simulate_pair(p, 2.0, at, 77);
    for (std::size_t k = 0; k < at.size(); ++k) {
      INFO("share " << share << " step " << at[k]);
      CHECK(std::abs(std::log(got[k].w / got[k].gamma / ratio_after(flow, 4.0, static_cast<double>(at[k])))) <= 0.15);
    }
  }
}

// A 8 × 8 matrix by Muon (exact polar factor by iteration), the scales of its columns by AdamW, gradient noise and a
// pull to a diagonal target. Ratios are means over 8 columns and 4 runs.
TEST_CASE("T12: Muon's matrix beside AdamW's scales follows the pair's path") {
  const std::size_t n = 8, runs = 4;
  const double mu = 0.9, h = 1.0, sigma = 0.5, target = 1.0, lr_w = 4e-3;
  for (const double lr_gamma : {2e-3, 8e-3}) {
    RatioNormalised problem = muon_pair(n, mu, polar_factor(n), target, lr_w, lr_gamma);
    problem.decay_w = 2e-5;
    problem.decay_gamma = 1e-5;
    const RatioFlow flow = normalised_ratio(problem);
    const double from = 1.0;
    const std::vector<long> at = twelve_times(3000);
    std::vector<PairSquares> got(at.size());
    std::mt19937_64 random(15);
    std::normal_distribution<double> normal;
    for (std::size_t r = 0; r < runs; ++r) {
      reference::Matrix w(n, n), m(n, n), mixed(n, n);
      std::vector<double> gamma(n, std::sqrt(target / from)), m1(n, 0.0), m2(n, 0.0);
      for (std::size_t i = 0; i < n; ++i) w.x[i * n + i] = std::sqrt(target * from);
      std::size_t next = 0;
      for (long t = 1; next < at.size(); ++t) {
        std::vector<double> along(n, 0.0);
        for (std::size_t i = 0; i < n; ++i)
          for (std::size_t j = 0; j < n; ++j) {
            const std::size_t e = i * n + j;
            const double g = h * (gamma[j] * w.x[e] - (i == j ? target : 0.0)) + sigma * normal(random);
            along[j] += w.x[e] * g;
            m.x[e] = mu * m.x[e] + (1.0 - mu) * gamma[j] * g;
            mixed.x[e] = (1.0 - mu) * gamma[j] * g + mu * m.x[e];
          }
        const reference::Matrix u =
            reference::newton_schulz(mixed, std::vector<reference::Triple>(20, {1.5, -0.5, 0.0}), 1.0);
        for (std::size_t e = 0; e < n * n; ++e) w.x[e] -= lr_w * u.x[e] + problem.decay_w * w.x[e];
        for (std::size_t j = 0; j < n; ++j) {
          m1[j] = 0.9 * m1[j] + 0.1 * along[j];
          m2[j] = 0.99 * m2[j] + 0.01 * along[j] * along[j];
          gamma[j] -= lr_gamma * m1[j] / (1.0 - std::pow(0.9, t)) / std::sqrt(m2[j] / (1.0 - std::pow(0.99, t))) +
                      problem.decay_gamma * gamma[j];
        }
        while (next < at.size() && at[next] == t) {
          for (const double x : w.x) got[next].w += x * x;
          for (const double x : gamma) got[next].gamma += x * x;
          ++next;
        }
      }
    }
    for (std::size_t k = 0; k < at.size(); ++k) {
      INFO("lr of the scales " << lr_gamma << " step " << at[k] << " end " << settled_ratio(flow) << " K "
                               << problem.gain() << " got " << std::sqrt(got[k].w / got[k].gamma));
      CHECK(std::abs(std::log(std::sqrt(got[k].w / got[k].gamma) /
                              ratio_after(flow, from, static_cast<double>(at[k])))) <= 0.25);
    }
  }
}

TEST_CASE("T13: the path is its equation's by Odeint, there and back, from any start") {
  Arguments draw(16);
  for (int i = 0; i < 300; ++i) {
    const RatioFlow flow{draw.size(1e-4, 1e2), draw.size(1e-4, 1e2), draw.size(1e-3, 1e3), 1.0};
    const double end = settled_ratio(flow), from = end * (i % 2 ? draw.size(1e-6, 0.999) : draw.size(1.001, 1e6));
    const double steps = draw.size(1e-6, 20.0) / ratio_relaxation(flow);
    const double got = ratio_after(flow, from, steps);
    CHECK((from < end ? got >= from && got <= end : got <= from && got >= end));
    if (std::abs(got / end - 1.0) > 1e-6 && std::abs(got / from - 1.0) > 1e-3)
      CHECK(std::abs(ratio_steps(flow, from, got) / steps - 1.0) <= 1e-7);
    if (i >= 60) continue;
    std::vector<double> z{std::log(from)};
    integrate_flow(
        [&](const std::vector<double>& x, std::vector<double>& dx) {
          const double y = std::exp(x[0]);
          dx[0] = (flow.rise - flow.fall * y) / (1.0 + flow.weight * y);
        },
        z, steps, 1e-11);
    CHECK(std::abs(z[0] - std::log(got)) <= 1e-8);
  }
  const RatioFlow flow{2.0, 1.0, 1.0, 1.0};
  CHECK(ratio_after(flow, 2.0, 5.0) == 2.0);
  CHECK(ratio_after(flow, 0.3, 0.0) == 0.3);
  CHECK(std::abs(ratio_after(flow, 0.3, 1e6) - 2.0) <= 1e-12);
  CHECK(growth_of_ratio(flow, 2.0) == 0.0);
  CHECK(std::isinf(growth_of_ratio(flow, 1.0)));
  CHECK_THROWS_AS(ratio_steps(flow, 1.0, 3.0), std::domain_error);
  CHECK_THROWS_AS(ratio_after(flow, 0.0, 1.0), std::domain_error);
  CHECK_THROWS_AS(with_growth(flow, -5.0), std::domain_error);
  CHECK_THROWS_AS(settled_ratio(RatioFlow{}), std::domain_error);
  CHECK_THROWS_AS(sgd_ratio(RatioSgd{0.5, 1.0, 1.0, 0.1, 0.1}), std::domain_error);
  CHECK_THROWS_AS(adamw_pair(4.0, 0.0, 0.1, 0.1), std::domain_error);
  // At the decay that counts as the noise AdamW's rise is twice the noise's.
  RatioNormalised pair = adamw_pair(16.0, 2.0, 1e-3, 1e-3);
  const double rise = normalised_ratio(pair).rise;
  pair.decay_gamma = 1e-3 * noise_as_decay(16.0, 2.0, 1e-3);
  CHECK(std::abs(normalised_ratio(pair).rise / rise - 2.0) <= 1e-12);
}
