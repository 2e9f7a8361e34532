#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/claims/plan.hpp"
#include "experiments/claims/verdict.hpp"

// From runs to gains: the result of each contrast of a claim.
namespace scalevec::experiments {

struct ArmResult {
  std::string name;
  std::optional<double> lr;
  std::vector<double> values;               // of the contrast's metric, per seed; +∞ diverged, NaN missing
  std::vector<std::filesystem::path> runs;  // per seed
};

struct ContrastResult {
  const Contrast* contrast = nullptr;
  std::vector<ArmResult> better,
      worse;                  // arms and baselines as the contrast names them (of several better ones the chosen)
  std::vector<double> gains;  // per seed; empty if the contrast has no pairs
  Gain gain;
  std::vector<std::string> notes;
  // Of a ladder, for each law that was fitted {"arm": the part of the sizes' names before the first space, "compute"
  // and "loss" (per size: 6·parameters·tokens, mean over seeds), "floor", "log_factor", "exponent", and the ends of its
  // 95 % interval by bootstrap over seeds, "exponent_low" and "exponent_high"}.
  std::vector<nlohmann::json> fits;
  std::string extrapolation;  // for a ladder: the result at ten times the largest budget, or why there is none
};

// All claims of the plan, judged together as one ledger: the array "claims" of claims.json without what levels.hpp
// adds. `runs` is the folder of the runs. Where `withheld` says why, every verdict is inconclusive for this reason; the
// intervals do not change. "pilot" is from the tuning seeds, before the comparison: the standard deviation of a paired
// difference to the baseline, pooled over learning rates and arms, and the number of pairs that it requires.
nlohmann::json gather(const Plan& plan, const Outcomes& outcomes, const std::filesystem::path& runs,
                      const std::string& withheld = "");

// The members of a judgement in claims.json.
nlohmann::json judgement_json(const Judgement& judgement);

// The mean of values[i] over the indices i in `chosen`.
double mean_over(const std::vector<double>& values, std::span<const size_t> chosen);

// Fits both scaling laws to the sizes of a ladder (r.better and r.worse, losses per seed) and sets the gain: the
// compute at which the baseline's law reaches the loss of the variant at the largest budget, divided by that budget,
// minus 1. If the variant is worse, it is computed with the roles exchanged and inverted, so that nothing outside the
// measured budgets is used. Intervals are by bootstrap over seeds.
void fit_ladder(ContrastResult& r, std::int64_t seeds);

// log2 of the best lr: the vertex of the parabola through the least of `losses` and its two neighbours, as a function
// of log2 of `lrs`. NaN if the least loss does not have a finite neighbour on each side.
double best_log2_lr(std::span<const double> lrs, std::span<const double> losses);

// The tokens at which the falling `losses` reach `loss`, interpolated linearly in log2 of the tokens; NaN outside the
// measured range.
double tokens_at_loss(std::span<const double> tokens, std::span<const double> losses, double loss);

}  // namespace scalevec::experiments
