#pragma once

#include <cstdint>
#include <functional>
#include <limits>
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
  double estimate = std::numeric_limits<double>::quiet_NaN();
  double sd =
      std::numeric_limits<double>::quiet_NaN();  // of the gain of one pair; of the estimate if there are no pairs
  std::int64_t n = 0;                            // pairs
  double p = std::numeric_limits<double>::quiet_NaN();  // two-sided, for the hypothesis that the gain is 0
  std::function<std::pair<double, double>(double confidence)> interval;  // empty: none
  std::string reason;  // why nothing can be concluded; empty if something can
};

// The mean of paired gains with its Student-t interval. If a value is not finite, the reason is `what_failed`.
Gain student_gain(std::span<const double> gains, const std::string& what_failed);
// The estimate with its bootstrap standard error over n units and Student's t with n − 1 degrees of freedom.
// Percentiles of the bootstrap, including BCa, are much too narrow with few units and at the levels that Holm's
// procedure requires.
Gain bootstrap_gain(const Bootstrap& bootstrap, std::int64_t n);

struct Hypothesis {
  Gain gain;
  double smallest_effect = 0.0;
};

struct Judgement {
  Verdict verdict = Verdict::inconclusive;
  double confidence = 0.95;  // of the interval: 1 − the level of the hypothesis in Holm's procedure
  double low = std::numeric_limits<double>::quiet_NaN(), high = low;
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
