#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

namespace scalevec::experiments {

struct BootstrapOptions {
  size_t resamples = 4000;
  std::uint64_t seed = 1;  // of counter-based random numbers: the same data give the same interval on every machine
};

// The bootstrap distribution of a statistic over resampled units (seeds), with bias-corrected and accelerated intervals
// (BCa, Efron, JASA 82, 1987). Where BCa is not defined (a jackknife without spread, or a distribution that lies
// completely on one side of the estimate), the intervals are plain percentiles.
class Bootstrap {
 public:
  // `statistic` is called with `units` indices of chosen units, each in 0 … units − 1. A resample whose statistic is
  // not finite is left out and counted. With fewer than two units there is no interval.
  Bootstrap(size_t units, const std::function<double(std::span<const size_t>)>& statistic,
            const BootstrapOptions& = {});

  double estimate() const { return estimate_; }  // the statistic of all units
  bool defined() const { return samples_.size() > 1 && failed_ * 20 <= samples_.size(); }
  bool bca() const { return bca_; }          // false: percentiles
  size_t failed() const { return failed_; }  // resamples left out
  double sd() const;                         // standard deviation of the distribution

  // The ends of the two-sided interval; NaNs unless defined().
  std::pair<double, double> interval(double confidence = 0.95) const;

 private:
  double quantile(double probability) const;

  double estimate_, bias_ = 0.0, acceleration_ = 0.0;
  bool bca_ = false;
  size_t failed_ = 0;
  std::vector<double> samples_;  // sorted
};

}  // namespace scalevec::experiments
