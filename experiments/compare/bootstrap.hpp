#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

namespace scalevec {

struct BootstrapOptions {
  size_t resamples = 4000;
  std::uint64_t seed = 1;  // of the counter-based draws: the same data give the same interval everywhere
};

// A statistic's bootstrap distribution over resampled units (seeds), and intervals from it: bias-corrected and
// accelerated (BCa, Efron, JASA 82, 1987), or plain percentiles where BCa is not defined (a jackknife without spread,
// or a distribution wholly on one side of the estimate).
class Bootstrap {
 public:
  // `statistic` of the chosen units' indices into 0 … units − 1, `units` of them. A resample whose statistic is not
  // finite is left out and counted. Fewer than two units give no interval.
  Bootstrap(size_t units, const std::function<double(std::span<const size_t>)>& statistic,
            const BootstrapOptions& = {});

  double estimate() const { return estimate_; }
  bool defined() const { return samples_.size() > 1 && failed_ * 20 <= samples_.size(); }
  bool bca() const { return bca_; }
  size_t failed() const { return failed_; }
  double sd() const;  // of the distribution

  // NaNs unless defined(): the ends of the two-sided interval.
  std::pair<double, double> interval(double confidence = 0.95) const;
  // The p-value that belongs to it: the level of the interval that ends at 0; never below 1/(resamples + 1).
  double two_sided_p() const;

 private:
  double quantile(double probability) const;

  double estimate_, bias_ = 0.0, acceleration_ = 0.0;
  bool bca_ = false;
  size_t failed_ = 0;
  std::vector<double> samples_;  // sorted
};

}  // namespace scalevec
