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
#include "experiments/statistics/vertex.hpp"

// From measured gains to verdicts.
namespace scalevec::experiments {

enum class Verdict { confirmed, contradicted, not_confirmed, inconclusive };

const char* to_string(Verdict verdict);  // "confirmed", "contradicted", "not confirmed", "inconclusive"

// The verdict for the interval [low, high] of the gain and the smallest effect of interest δ ≥ 0: confirmed if low > 0
// and high ≥ δ; contradicted if high < 0; else not confirmed if high < δ; else inconclusive. A NaN gives inconclusive.
Verdict verdict_of(double low, double high, double smallest_effect);

// A variant that was trained beside its true best lr has lost by it, at most VertexFit::excess(). `slope` is what the
// gain would change by, per loss, if the variant's loss were lower.
struct LrError {
  VertexFit fit;
  double slope;
};

// The gain of a contrast, per pair of runs or as a whole. Above 0 it supports the claim.
struct Gain {
  double estimate = kNaN, sd = kNaN;  // sd: of the gain of one pair; of the estimate if there are no pairs
  std::int64_t n = 0;                 // pairs
  std::optional<MeanInterval> mean;   // Student's t of the estimate; empty: there is no interval
  std::string reason;                 // why nothing can be concluded; empty if something can
  std::vector<LrError> lr_errors;     // of the variants that are compared at their own best lr

  // Student's interval, widened on each side by what the errors of the lrs may have cost at the same confidence, all of
  // them together. NaNs if there is none.
  std::pair<double, double> interval(double confidence) const;
};

// The mean of paired gains with its Student-t interval. If a value is not finite, the reason is `what_failed`.
Gain student_gain(std::span<const double> gains, const std::string& what_failed);
// The estimate with its bootstrap standard error over n units and Student's t with n − 1 degrees of freedom.
// Percentiles of the bootstrap, including BCa, are much too narrow with few units and at the levels that Holm's
// procedure requires.
Gain bootstrap_gain(const Bootstrap& bootstrap, std::int64_t n);

// Of an estimate that has the standard deviation `sd` over n units of which it is no mean.
MeanInterval whole_interval(double estimate, double sd, std::int64_t n);

struct Judgement {
  Verdict verdict = Verdict::inconclusive;
  double confidence = 0.95;  // of the interval: 1 − the level of the look
  double low = kNaN, high = kNaN;
  std::string reason;  // as in the gain
};

// By the interval at confidence 1 − level; inconclusive where the gain has a reason.
Judgement judge(const Gain& gain, double smallest_effect, double level = 0.05);

// The two-sided error rate of a whole ledger. Each of its hypotheses has an equal part, spent over its looks; the part
// is fixed beforehand, so that a verdict depends neither on other claims nor on how much of the ledger is run.
inline constexpr double kLedgerError = 0.05;

// The levels of looks at these numbers of pairs, rising, of which the last is the most: they spend `error`.
std::vector<double> look_levels(std::span<const std::int64_t> looks, double error);

// Why no further look is needed: "the interval excludes zero" or "the interval lies within the smallest effect of
// interest" (on both sides of 0); empty if one is.
std::string decided(const Judgement& judgement, double smallest_effect);

// The verdict of a claim that several hypotheses decide: contradicted if one is; confirmed if all are; else not
// confirmed if one is; else inconclusive. Without hypotheses it is inconclusive.
Verdict combined(std::span<const Verdict> verdicts);

}  // namespace scalevec::experiments
