#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "experiments/compare/analysis.hpp"

using namespace scalevec::experiments;

// Comparisons made by hand: losses[lr][seed] for each variant; ∞ is a diverged run, NaN a missing one.
inline constexpr double kDiverged = std::numeric_limits<double>::infinity();
inline constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

struct FakeVariant {
  std::string name;
  std::vector<std::vector<double>> losses;
};

inline scalevec::experiments::Comparison fake_comparison(const std::vector<double>& lrs,
                                                         const std::vector<std::int64_t>& tuning_seeds,
                                                         const std::vector<std::int64_t>& seeds,
                                                         const std::vector<FakeVariant>& variants) {
  using State = scalevec::experiments::CellOutcome::State;
  scalevec::experiments::Comparison c;
  c.grid.name = "fake";
  c.grid.baseline = variants.front().name;
  c.grid.lr_key = "optimizer.lr";
  c.grid.seed_key = "seed";
  c.grid.axes = {{"optimizer.lr", {lrs.begin(), lrs.end()}}};
  c.grid.seeds = seeds;
  c.grid.tuning_seeds = tuning_seeds;
  std::vector<std::int64_t> all = tuning_seeds;
  all.insert(all.end(), seeds.begin(), seeds.end());
  for (size_t s = 0; s < all.size(); ++s)
    for (size_t l = 0; l < lrs.size(); ++l)
      for (size_t v = 0; v < variants.size(); ++v) {
        if (s == 0 && l == 0) c.grid.variants.push_back(variants[v].name);
        const std::string name =
            "v" + std::to_string(v) + "/lr=" + std::to_string(lrs[l]) + ",seed=" + std::to_string(all[s]);
        c.grid.cells.push_back(
            {name, variants[v].name, {{"optimizer.lr", lrs[l]}}, all[s], s < tuning_seeds.size(), {}, "0"});
        const double loss = variants[v].losses[l][s];
        c.outcomes.push_back({std::isnan(loss)   ? State::missing
                              : std::isinf(loss) ? State::diverged
                                                 : State::done,
                              loss, std::isnan(loss) ? "not started" : ""});
      }
  return c;
}
