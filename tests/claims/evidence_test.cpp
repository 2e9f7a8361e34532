#include "experiments/claims/evidence.hpp"

#include <cmath>

#include "experiments/claims/metrics.hpp"
#include "optim/core/random.hpp"
#include "tests/compare/scratch.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;

TEST_CASE("the balance of decays is held against T4's equation with the pull, by its root") {
  const Scratch run;
  const std::string policy = R"({"groups": [{"group": "scale.input", "weight_decay": 0.1, "decay_target": TARGET},
      {"group": "matrix", "weight_decay": 0.2, "decay_target": 0}],
    "scales": [{"name": "a", "form": "plain", "rows": 192}, {"name": "b", "form": "or", "rows": 192}, {"name": "c", "form": "plain", "rows": 0}]})";
  const auto with_target = [&](const char* target) {
    std::string text = policy;
    run.write("policy.json", text.replace(text.find("TARGET"), 6, target));
  };
  run.write("traces.jsonl", R"({"step": 1, "params": []}
{"step": 2, "params": [{"name": "a", "count": 4, "param_norm": 3, "scheduled_lr": 0.004, "w_gamma_ratio": 1.5}, {"name": "b", "count": 4, "param_norm": 3, "scheduled_lr": 0.004, "w_gamma_ratio": 7}, {"name": "c", "count": 4, "param_norm": 3, "scheduled_lr": 0.004}]})");
  with_target("0");
  const DecayBalance balance = decay_balance(run.path());
  CHECK(balance.measured == Approx(1.5));
  // λ_wρ²γ² − ½cη = λ_γγ²ρ at γ² = 9/4.
  const double rho = balance.predicted, gamma_sq = 2.25;
  CHECK(0.2 * rho * rho * gamma_sq - 0.5 * 192 * 0.004 == Approx(0.1 * gamma_sq * rho));
  CHECK(rho > 0.0);
  CHECK(run_metric(run.path(), "decay_balance") == Approx(1.5 / rho));
  with_target("1");
  CHECK(std::isnan(run_metric(run.path(), "decay_balance")));
}

TEST_CASE("tokens at a loss are interpolated between finished runs and not beyond them") {
  const std::vector<double> tokens{1e6, 2e6, 4e6}, losses{3.0, 2.5, 2.25};
  CHECK(tokens_at_loss(tokens, losses, 2.5) == Approx(2e6));
  CHECK(tokens_at_loss(tokens, losses, 2.75) == Approx(std::sqrt(2.0) * 1e6));
  CHECK(tokens_at_loss(tokens, losses, 2.25) == Approx(4e6));
  CHECK(std::isnan(tokens_at_loss(tokens, losses, 2.2)));
  CHECK(std::isnan(tokens_at_loss(tokens, losses, 3.1)));
}

// Losses of both ladders on known laws, a variant that needs 1.25 times less compute, with noise per seed.
TEST_CASE("a ladder's compute ratio is found within its interval, and what is not constrained is not extrapolated") {
  const std::vector<double> parameters{1e4, 3e4, 1e5, 3e5, 1e6};
  const auto ladder = [&](double noise, double ratio) {
    ContrastResult r;
    for (int variant = 0; variant < 2; ++variant)
      for (size_t size = 0; size < parameters.size(); ++size) {
        MeasuredVariant a;
        a.name = (variant ? "unified " : "plain ") + std::to_string(size);
        a.parameters = parameters[size];
        a.tokens = 20.0 * parameters[size];
        const double compute = 6.0 * parameters[size] * 20.0 * parameters[size];
        for (std::uint64_t seed = 0; seed < 8; ++seed)
          a.values.push_back(1.0 + 60.0 * std::pow((variant ? ratio : 1.0) * compute, -0.15) +
                             noise * random_normal(9, 10 * size + static_cast<size_t>(variant), seed));
        (variant ? r.better : r.worse).push_back(std::move(a));
      }
    fit_ladder(r, 8);
    return r;
  };
  const ContrastResult clear = ladder(2e-4, 1.25);
  REQUIRE(clear.gain.reason.empty());
  const auto [low, high] = clear.gain.interval(0.95);
  CHECK(low > 0.2);
  CHECK(high < 0.3);
  CHECK(clear.fits[0].at("exponent").get<double>() == Approx(0.15).margin(0.02));
  CHECK(clear.extrapolation.find("at ten times") == 0);
  REQUIRE(clear.without.size() == 5);
  for (const double gain : clear.without) CHECK(gain == Approx(0.25).margin(0.1));
  // Where the variant is worse the ratio is below 1, from within the same budgets.
  CHECK(ladder(2e-4, 0.8).gain.estimate == Approx(-0.2).margin(0.03));
  // One floor for both, which is that of the text.
  CHECK(clear.fits[0].at("floor") == clear.fits[1].at("floor"));
  const ContrastResult noisy = ladder(0.3, 1.25);
  CHECK(noisy.extrapolation.find("not extrapolated") == 0);
}

// Sizes that are trained beside their best lr lose by it: at most as much as their fits allow, which moves the ratio by
// less than the interval reaches.
TEST_CASE("errors of learning rates widen the interval of a ladder on both sides, each by what it may have cost") {
  const std::vector<double> parameters{1e5, 2.2e5, 4.8e5, 1e6, 3.2e6};
  const auto ladder = [&](bool fits, double se, const std::vector<double>& plain_loses,
                          const std::vector<double>& unified_loses) {
    ContrastResult r;
    for (int variant = 0; variant < 2; ++variant)
      for (size_t size = 0; size < parameters.size(); ++size) {
        MeasuredVariant a;
        a.name = (variant ? "unified " : "plain ") + std::to_string(size);
        a.parameters = parameters[size];
        a.tokens = 1.5e3 * std::sqrt(parameters[size]);
        const double compute = 6.0 * a.parameters * a.tokens;
        for (std::uint64_t seed = 0; seed < 5; ++seed)
          a.values.push_back(1.2 + 400.0 * std::pow((variant ? 1.3 : 1.0) * compute, -0.23) +
                             (variant ? unified_loses : plain_loses)[size] +
                             2e-4 * random_normal(11, 10 * size + static_cast<size_t>(variant), seed));
        if (fits) {
          a.fit = VertexFit{};
          a.fit->curvature = 0.03;
          a.fit->se = se;
          a.fit->freedom = 4;
        }
        (variant ? r.better : r.worse).push_back(std::move(a));
      }
    fit_ladder(r, 5);
    return r;
  };
  const std::vector<double> none(5, 0.0);
  const ContrastResult exact = ladder(false, 0.0, none, none), wide = ladder(true, 0.2, none, none);
  REQUIRE(wide.gain.reason.empty());
  CHECK(exact.gain.lr_errors.empty());
  REQUIRE(wide.gain.lr_errors.size() == 10);
  const auto [low, high] = wide.gain.interval(0.95);
  CHECK(low < exact.gain.interval(0.95).first);
  CHECK(high > exact.gain.interval(0.95).second);
  const double excess = wide.gain.lr_errors[0].fit.excess(0.95);
  for (std::uint64_t trial = 0; trial < 40; ++trial) {
    std::vector<double> plain, unified;
    for (std::uint64_t i = 0; i < 5; ++i) {
      plain.push_back(excess * random_uniform(12, trial, i));
      unified.push_back(excess * random_uniform(12, trial, 5 + i));
    }
    CAPTURE(trial);
    const ContrastResult off = ladder(true, 0.2, plain, unified);
    const auto [from, to] = off.gain.interval(0.95);
    // 1.3 is the ratio had every size been trained at its best lr.
    CHECK(from < 0.3);
    CHECK(to > 0.3);
  }
}
