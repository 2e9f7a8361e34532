#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "experiments/statistics/bootstrap.hpp"
#include "experiments/statistics/statistics.hpp"

// From measured gains to verdicts.
namespace scalevec::experiments {

enum class Verdict { confirmed, contradicted, not_confirmed, inconclusive };

const char* to_string(Verdict verdict);  // "confirmed", "contradicted", "not confirmed", "inconclusive"

// The verdict for the interval [low, high] of the gain and the smallest effect of interest δ ≥ 0: confirmed if low > 0
// and high ≥ δ; contradicted if high < 0; else not confirmed if high < δ; else inconclusive. A NaN gives inconclusive.
Verdict verdict_of(double low, double high, double smallest_effect);

// The gain of a contrast, per pair of runs or as a whole. Above 0 it supports the claim.
struct Gain {
  double estimate = kNaN, sd = kNaN;  // sd: of the gain of one pair; of the estimate if there are no pairs
  std::int64_t n = 0;                 // pairs
  std::optional<MeanInterval> mean;   // Student's t of the estimate; empty: there is no interval
  std::string reason;                 // why nothing can be concluded; empty if something can

  double p() const { return mean ? two_sided_p(*mean) : kNaN; }  // two-sided, for the hypothesis that the gain is 0
  std::pair<double, double> interval(double confidence) const;   // NaNs if there is none
};

// The mean of paired gains with its Student-t interval. If a value is not finite, the reason is `what_failed`.
Gain student_gain(std::span<const double> gains, const std::string& what_failed);
// The estimate with its bootstrap standard error over n units and Student's t with n − 1 degrees of freedom.
// Percentiles of the bootstrap, including BCa, are much too narrow with few units and at the levels that Holm's
// procedure requires.
Gain bootstrap_gain(const Bootstrap& bootstrap, std::int64_t n);

// Of an estimate that has the standard deviation `sd` over n units of which it is no mean.
MeanInterval whole_interval(double estimate, double sd, std::int64_t n);

struct Hypothesis {
  Gain gain;
  double smallest_effect = 0.0;
};

struct Judgement {
  Verdict verdict = Verdict::inconclusive;
  double confidence = 0.95;  // of the interval: 1 − the level of the hypothesis in Holm's procedure
  double low = kNaN, high = kNaN;
  double adjusted_p = 1.0;
  std::string reason;  // as in the gain
};

// Judges all hypotheses of a ledger with Holm's correction over all of them. Hypotheses that cannot be tested count
// too, so that a failed run does not make another claim easier to confirm.
std::vector<Judgement> judge(std::span<const Hypothesis> hypotheses, double alpha = 0.05);

// The verdict of a claim that several hypotheses decide: contradicted if one is; confirmed if all are; else not
// confirmed if one is; else inconclusive. Without hypotheses it is inconclusive.
Verdict combined(std::span<const Verdict> verdicts);

}  // namespace scalevec::experiments
