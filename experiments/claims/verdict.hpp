#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "scalevec/experiments/compare/bootstrap.hpp"
#include "scalevec/experiments/compare/statistics.hpp"

// From measured gains to verdicts.
namespace scalevec {

enum class Verdict { confirmed, contradicted, not_confirmed, inconclusive };

const char* to_string(Verdict verdict);  // "confirmed", "contradicted", "not confirmed", "inconclusive"

// For the interval [low, high] of the gain and the smallest effect of interest δ ≥ 0: confirmed if low > 0 and high ≥
// δ; contradicted if high < 0; else not confirmed if high < δ; else inconclusive. A NaN is inconclusive.
Verdict verdict_of(double low, double high, double smallest_effect);

// How much better what a claim says is better, per pair of runs or as a whole; above 0 is the claim's way.
struct Gain {
  double estimate = std::numeric_limits<double>::quiet_NaN();
  double sd = std::numeric_limits<double>::quiet_NaN();  // of one pair's gain; of the estimate where it has no pairs
  std::int64_t n = 0;                                    // pairs
  double p = std::numeric_limits<double>::quiet_NaN();   // two-sided, of gain 0
  std::function<std::pair<double, double>(double confidence)> interval;  // empty: none
  std::string reason;  // why nothing can be concluded, whatever the numbers say; empty if something can
};

// A paired gain with its Student-t interval. A value that is not finite makes it inconclusive, with `what_failed`.
Gain student_gain(std::span<const double> gains, const std::string& what_failed);
// The estimate with its bootstrap standard error over n units and Student's t at n − 1: the bootstrap's own
// percentiles, BCa among them, are far too narrow at a handful of units and at the levels that Holm's procedure asks
// for.
Gain bootstrap_gain(const Bootstrap& bootstrap, std::int64_t n);

struct Hypothesis {
  Gain gain;
  double smallest_effect = 0.0;
};

struct Judgement {
  Verdict verdict = Verdict::inconclusive;
  double confidence = 0.95;  // of the interval: 1 − the level at which Holm's procedure tests the hypothesis
  double low = std::numeric_limits<double>::quiet_NaN(), high = low;
  double adjusted_p = 1.0;
  std::string reason;  // as in the gain
};

// Every hypothesis of a ledger, with Holm's correction over all of them: those that can't be tested count too, so that
// a run that failed makes no other claim easier to confirm.
std::vector<Judgement> judge(std::span<const Hypothesis> hypotheses, double alpha = 0.05);

// A claim that several hypotheses decide: confirmed if all are; contradicted if one is; else not confirmed if one is;
// else inconclusive, as it is without any.
Verdict combined(std::span<const Verdict> verdicts);

}  // namespace scalevec
