#include "experiments/statistics/bootstrap.hpp"

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/statistics/univariate_statistics.hpp>
#include <cmath>
#include <limits>
#include <numeric>

#include "experiments/statistics/statistics.hpp"
#include "optim/core/random.hpp"

namespace scalevec::experiments {
namespace {

namespace statistics = boost::math::statistics;

double normal_cdf(double z) { return boost::math::cdf(boost::math::normal(), z); }
double normal_quantile(double p) { return boost::math::quantile(boost::math::normal(), p); }

}  // namespace

Bootstrap::Bootstrap(size_t units, const std::function<double(std::span<const size_t>)>& statistic,
                     const BootstrapOptions& options) {
  std::vector<size_t> chosen(units);
  std::iota(chosen.begin(), chosen.end(), size_t{0});
  estimate_ = units ? statistic(chosen) : kNaN;
  if (units < 2 || !std::isfinite(estimate_)) return;
  const std::uint64_t stream = stream_of("bootstrap");
  for (size_t b = 0; b < options.resamples; ++b) {
    for (size_t i = 0; i < units; ++i)
      chosen[i] = std::min(units - 1, static_cast<size_t>(random_uniform(options.seed, stream, b * units + i) *
                                                          static_cast<double>(units)));
    const double value = statistic(chosen);
    if (std::isfinite(value))
      samples_.push_back(value);
    else
      ++failed_;
  }
  std::sort(samples_.begin(), samples_.end());
  if (samples_.empty()) return;

  std::vector<double> jackknife;
  for (size_t left_out = 0; left_out < units; ++left_out) {
    chosen.clear();
    for (size_t i = 0; i < units; ++i)
      if (i != left_out) chosen.push_back(i);
    jackknife.push_back(statistic(chosen));
  }
  const double spread = statistics::variance(jackknife);
  // Half of what equals the estimate counts as below it, as SciPy does.
  const auto [first, last] = std::equal_range(samples_.begin(), samples_.end(), estimate_);
  const double below = (static_cast<double>(first - samples_.begin()) + 0.5 * static_cast<double>(last - first)) /
                       static_cast<double>(samples_.size());
  if (!(spread > 0.0) || !std::isfinite(spread) || below <= 0.0 || below >= 1.0) return;
  bias_ = normal_quantile(below);
  acceleration_ = -statistics::skewness(jackknife) / (6.0 * std::sqrt(static_cast<double>(units)));
  bca_ = true;
}

double Bootstrap::sd() const { return samples_.size() < 2 ? kNaN : std::sqrt(statistics::sample_variance(samples_)); }

double Bootstrap::quantile(double probability) const {
  const double at = std::clamp(probability, 0.0, 1.0) * static_cast<double>(samples_.size() - 1);
  const size_t low = static_cast<size_t>(at), high = std::min(low + 1, samples_.size() - 1);
  return samples_[low] + (at - static_cast<double>(low)) * (samples_[high] - samples_[low]);
}

std::pair<double, double> Bootstrap::interval(double confidence) const {
  if (!defined()) return {kNaN, kNaN};
  const auto end = [&](double p) {
    if (!bca_) return quantile(p);
    const double z = bias_ + normal_quantile(p);
    return quantile(normal_cdf(bias_ + z / (1.0 - acceleration_ * z)));
  };
  return {end((1.0 - confidence) / 2.0), end((1.0 + confidence) / 2.0)};
}

}  // namespace scalevec::experiments
