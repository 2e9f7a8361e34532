#include "experiments/statistics/statistics.hpp"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/statistics/univariate_statistics.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <vector>

namespace scalevec::experiments {
namespace {

double half_width(double sd, std::int64_t n, double confidence) {
  const boost::math::students_t distribution(static_cast<double>(n - 1));
  return boost::math::quantile(boost::math::complement(distribution, (1.0 - confidence) / 2.0)) * sd /
         std::sqrt(static_cast<double>(n));
}

}  // namespace

MeanInterval mean_interval(std::span<const double> values, double confidence) {
  std::vector<double> finite;
  for (const double x : values)
    if (std::isfinite(x)) finite.push_back(x);
  MeanInterval out{static_cast<std::int64_t>(finite.size()), static_cast<std::int64_t>(values.size() - finite.size()),
                   kNaN, kNaN, kNaN};
  if (finite.empty()) return out;
  out.mean = boost::math::statistics::mean(finite);
  if (out.n < 2) return out;
  out.sd = std::sqrt(boost::math::statistics::sample_variance(finite));
  out.half_width = half_width(out.sd, out.n, confidence);
  return out;
}

MeanInterval paired_difference(std::span<const double> values, std::span<const double> baseline, double confidence) {
  if (values.size() != baseline.size()) throw std::invalid_argument("paired_difference: lengths differ");
  std::vector<double> differences;
  for (size_t i = 0; i < values.size(); ++i)
    differences.push_back(std::isfinite(values[i]) && std::isfinite(baseline[i]) ? values[i] - baseline[i] : kNaN);
  return mean_interval(differences, confidence);
}

MeanInterval at_confidence(MeanInterval interval, double confidence) {
  if (interval.defined()) interval.half_width = half_width(interval.sd, interval.n, confidence);
  return interval;
}

double two_sided_p(const MeanInterval& interval) {
  if (!interval.defined()) return kNaN;
  if (interval.sd == 0.0) return interval.mean == 0.0 ? 1.0 : 0.0;
  const boost::math::students_t distribution(static_cast<double>(interval.n - 1));
  const double t = std::abs(interval.mean) / interval.sd * std::sqrt(static_cast<double>(interval.n));
  return 2.0 * boost::math::cdf(boost::math::complement(distribution, t));
}

std::optional<std::int64_t> pairs_needed(double sd, double effect, double confidence) {
  if (!std::isfinite(sd) || !(effect > 0.0)) return std::nullopt;
  // The half width falls with n: double until it is small enough, then bisect.
  std::int64_t high = 2;
  while (half_width(sd, high, confidence) > effect) {
    if (high > 1'000'000'000) return std::nullopt;
    high *= 2;
  }
  std::int64_t low = std::max<std::int64_t>(1, high / 2);
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (half_width(sd, middle, confidence) <= effect ? high : low) = middle;
  }
  return high;
}

std::vector<HolmResult> holm(std::span<const double> p, double alpha) {
  const size_t m = p.size();
  const auto value = [&](size_t i) { return std::isnan(p[i]) ? 1.0 : p[i]; };
  std::vector<size_t> order(m);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return value(a) < value(b); });
  std::vector<HolmResult> out(m);
  double running = 0.0, stopped_at = 0.0;
  for (size_t k = 0; k < m; ++k) {
    HolmResult& r = out[order[k]];
    const double left = static_cast<double>(m - k);
    running = std::max(running, std::min(1.0, left * value(order[k])));
    r.adjusted_p = running;
    r.level = stopped_at > 0.0 ? stopped_at : alpha / left;
    r.rejected = stopped_at == 0.0 && value(order[k]) <= r.level;
    if (!r.rejected && stopped_at == 0.0) stopped_at = r.level;
  }
  return out;
}

}  // namespace scalevec::experiments
