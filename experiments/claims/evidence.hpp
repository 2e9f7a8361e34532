#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "scalevec/experiments/claims/plan.hpp"
#include "scalevec/experiments/claims/verdict.hpp"

// From runs to gains: what each contrast of a claim measured.
namespace scalevec {

struct ArmResult {
  std::string name;
  std::optional<double> lr;
  std::vector<double> values;               // of the contrast's metric, per seed; +∞ diverged, NaN missing
  std::vector<std::filesystem::path> runs;  // per seed
};

// A fitted scaling law with what the bootstrap over seeds leaves open.
struct LadderFit {
  std::string arm;                    // "plain": of the sizes' names what comes before the first space
  std::vector<double> compute, loss;  // per size: 6·parameters·tokens, mean over seeds
  double floor = 0.0, log_factor = 0.0, exponent = 0.0;
  double exponent_low = 0.0, exponent_high = 0.0;
};

struct ContrastResult {
  const Contrast* contrast = nullptr;
  std::vector<ArmResult> better,
      worse;                  // arms and baselines as the contrast names them (of several better ones the chosen)
  std::vector<double> gains;  // per seed; empty where the contrast has no pairs
  Gain gain;
  Judgement judgement;  // of one that does not decide: at 95 %, uncorrected
  std::vector<std::string> notes;
  std::optional<std::int64_t> seeds_needed;  // for an interval of ± the smallest effect at the judgement's confidence
  std::vector<LadderFit> fits;               // of a ladder
  std::string extrapolation;                 // of a ladder: at ten times the largest budget, or why not
};

struct ClaimResult {
  const Claim* claim = nullptr;
  std::map<std::string, Tuning> tunings;  // by arm
  std::vector<ContrastResult> contrasts;
  Verdict verdict = Verdict::inconclusive;  // of the language models
  std::string reason;                       // of an inconclusive one
  // What the tuning seeds said before the comparison: standard deviation of a paired difference to the baseline, pooled
  // over learning rates and arms, and the number of pairs it makes necessary. NaN with one tuning seed.
  double pilot_sd = 0.0;
  std::optional<std::int64_t> pilot_seeds;
};

// Every claim of the plan, judged as one ledger. `runs` is the folder of the runs.
std::vector<ClaimResult> gather(const Plan& plan, const Outcomes& outcomes, const std::filesystem::path& runs);

// Makes every verdict inconclusive with this reason; the intervals stay.
void withhold_verdicts(std::vector<ClaimResult>& claims, const std::string& reason);

// The vertex of the parabola through the least of `losses` and its neighbours, against log2 of `lrs`; NaN where the
// least has no finite neighbour on each side.
double best_log2_lr(std::span<const double> lrs, std::span<const double> losses);

// log2-linear interpolation of the tokens at which falling `losses` reach `loss`; NaN outside what was measured.
double tokens_at_loss(std::span<const double> tokens, std::span<const double> losses, double loss);

}  // namespace scalevec
