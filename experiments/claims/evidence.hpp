#pragma once

#include <filesystem>
#include <map>
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

// A fitted scaling law, with an interval of its exponent by bootstrap over seeds.
struct LadderFit {
  std::string arm;                    // the part of the sizes' names before the first space: "plain"
  std::vector<double> compute, loss;  // per size: 6·parameters·tokens, mean over seeds
  double floor = 0.0, log_factor = 0.0, exponent = 0.0;
  double exponent_low = 0.0, exponent_high = 0.0;
};

struct ContrastResult {
  const Contrast* contrast = nullptr;
  std::vector<ArmResult> better,
      worse;                  // arms and baselines as the contrast names them (of several better ones the chosen)
  std::vector<double> gains;  // per seed; empty if the contrast has no pairs
  Gain gain;
  Judgement judgement;  // for one that does not decide: at 95 %, uncorrected
  std::vector<std::string> notes;
  std::optional<std::int64_t> seeds_needed;  // for an interval of ± the smallest effect at the judgement's confidence
  std::vector<LadderFit> fits;               // of a ladder
  std::string extrapolation;  // for a ladder: the result at ten times the largest budget, or why there is none
};

struct ClaimResult {
  const Claim* claim = nullptr;
  std::map<std::string, Tuning> tunings;  // by arm
  std::vector<ContrastResult> contrasts;
  Verdict verdict = Verdict::inconclusive;  // of the language models
  std::string reason;                       // of an inconclusive one
  // From the tuning seeds, before the comparison: the standard deviation of a paired difference to the baseline, pooled
  // over learning rates and arms, and the number of pairs that it requires. NaN with one tuning seed.
  double pilot_sd = 0.0;
  std::optional<std::int64_t> pilot_seeds;
};

// All claims of the plan, judged together as one ledger. `runs` is the folder of the runs.
std::vector<ClaimResult> gather(const Plan& plan, const Outcomes& outcomes, const std::filesystem::path& runs);

// Makes every verdict inconclusive, with this reason. The intervals do not change.
void withhold_verdicts(std::vector<ClaimResult>& claims, const std::string& reason);

// log2 of the best lr: the vertex of the parabola through the least of `losses` and its two neighbours, as a function
// of log2 of `lrs`. NaN if the least loss does not have a finite neighbour on each side.
double best_log2_lr(std::span<const double> lrs, std::span<const double> losses);

// The tokens at which the falling `losses` reach `loss`, interpolated linearly in log2 of the tokens; NaN outside the
// measured range.
double tokens_at_loss(std::span<const double> tokens, std::span<const double> losses, double loss);

}  // namespace scalevec::experiments
