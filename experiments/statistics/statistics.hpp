#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

// Means, paired differences, their Student-t intervals, and several of them tested together.
namespace scalevec::experiments {

// The value of a quantity that the given values do not define.
inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A mean and its two-sided Student-t interval.
struct MeanInterval {
  std::int64_t n = 0;         // finite values used
  std::int64_t left_out = 0;  // values (or pairs) that were not finite
  double mean;                // NaN if n = 0
  double sd;                  // sample standard deviation (n − 1); NaN if n < 2
  double half_width;          // of the two-sided Student-t interval, t·sd/√n; NaN if n < 2

  // Whether there is an interval, which needs two values.
  bool defined() const { return n >= 2; }
  double low() const { return mean - half_width; }
  double high() const { return mean + half_width; }
  bool excludes_zero() const { return defined() && (low() > 0.0 || high() < 0.0); }
};

// The mean of the finite values, with its interval at `confidence` in (0, 1).
MeanInterval mean_interval(std::span<const double> values, double confidence = 0.95);

// The same for the differences values[i] − baseline[i]. A pair with a value that is not finite is left out and counted.
// Throws std::invalid_argument for unequal lengths.
MeanInterval paired_difference(std::span<const double> values, std::span<const double> baseline,
                               double confidence = 0.95);

// The same mean with its interval at another confidence.
MeanInterval at_confidence(MeanInterval interval, double confidence);

// Two-sided p-value of Student's t test of the hypothesis that the mean is 0; NaN if n < 2. If the spread is exactly 0,
// the p-value is 0, or 1 if the mean is 0 too.
double two_sided_p(const MeanInterval& interval);

// The smallest n ≥ 2 whose interval has a half width ≤ `effect` at this standard deviation of the paired differences;
// empty if sd is not finite, effect is not positive, or n would exceed 10⁹.
std::optional<std::int64_t> pairs_needed(double sd, double effect, double confidence = 0.95);

// The result of Holm's step-down procedure (Scandinavian Journal of Statistics 6, 1979) for one hypothesis among
// several.
struct HolmResult {
  double adjusted_p = 1.0;
  // The level at which the hypothesis was tested: α/(m − k + 1) for the k-th smallest of m p-values. Every hypothesis
  // after the first that is not rejected has the level of that one. An interval at confidence 1 − level excludes 0 if
  // and only if `rejected` is true, provided that interval and p-value come from the same test.
  double level = 0.0;
  bool rejected = false;
};

// The results in the order of `p`. NaN stands for a test that could not be made. It counts as p = 1, so that m stays
// the planned number of tests.
std::vector<HolmResult> holm(std::span<const double> p, double alpha = 0.05);

}  // namespace scalevec::experiments
