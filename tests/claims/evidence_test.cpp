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
    for (int arm = 0; arm < 2; ++arm)
      for (size_t size = 0; size < parameters.size(); ++size) {
        ArmResult a;
        a.name = (arm ? "unified " : "plain ") + std::to_string(size);
        a.parameters = parameters[size];
        a.tokens = 20.0 * parameters[size];
        const double compute = 6.0 * parameters[size] * 20.0 * parameters[size];
        for (std::uint64_t seed = 0; seed < 8; ++seed)
          a.values.push_back(1.0 + 60.0 * std::pow((arm ? ratio : 1.0) * compute, -0.15) +
                             noise * random_normal(9, 10 * size + static_cast<size_t>(arm), seed));
        (arm ? r.better : r.worse).push_back(std::move(a));
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
  const ContrastResult noisy = ladder(0.3, 1.25);
  CHECK(noisy.extrapolation.find("not extrapolated") == 0);
}
