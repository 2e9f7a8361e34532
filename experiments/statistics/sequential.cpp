#include "experiments/statistics/sequential.hpp"

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <stdexcept>

namespace scalevec::experiments {
namespace {

constexpr int kIntervals = 400;    // of Simpson's rule, over the values that have not crossed
constexpr double kFarthest = 9.0;  // standard deviations: beyond lies less than 1e-18

double upper_tail(double z) { return 0.5 * std::erfc(z / std::sqrt(2.0)); }
double upper_quantile(double p) { return boost::math::quantile(boost::math::complement(boost::math::normal(), p)); }
double density(double z) { return std::exp(-0.5 * z * z) / std::sqrt(2.0 * 3.14159265358979323846); }

// A density on a symmetric interval, at the nodes of Simpson's rule.
struct Kept {
  std::vector<double> at, weighted;  // values, and density times weight

  template <class Density>
  Kept(double end, const Density& f) {
    const double step = 2.0 * end / kIntervals;
    for (int i = 0; i <= kIntervals; ++i) {
      const double weight = (i == 0 || i == kIntervals ? 1.0 : i % 2 ? 4.0 : 2.0) * step / 3.0;
      at.push_back(-end + step * i);
      weighted.push_back(weight * f(at.back()));
    }
  }

  // The probability of leaving ±end by an independent normal step of this standard deviation.
  double leaves(double end, double sd) const {
    double sum = 0.0;
    for (size_t i = 0; i < at.size(); ++i)
      sum += weighted[i] * (upper_tail((end - at[i]) / sd) + upper_tail((end + at[i]) / sd));
    return sum;
  }
};

}  // namespace

double spent_error(double fraction, double alpha) {
  if (fraction <= 0.0) return 0.0;
  return 4.0 * upper_tail(upper_quantile(0.25 * alpha) / std::sqrt(fraction));
}

std::vector<double> spending_boundaries(std::span<const double> fractions, double alpha) {
  if (!(alpha > 0.0 && alpha < 1.0)) throw std::invalid_argument("spending_boundaries: alpha outside (0, 1)");
  for (size_t k = 0; k < fractions.size(); ++k)
    if (!(fractions[k] > (k ? fractions[k - 1] : 0.0) && fractions[k] <= 1.0))
      throw std::invalid_argument("spending_boundaries: fractions must rise within (0, 1]");
  std::vector<double> out;
  std::vector<Kept> kept;  // of Brownian motion at the looks so far
  for (size_t k = 0; k < fractions.size(); ++k) {
    const double at = fractions[k], before = k ? fractions[k - 1] : 0.0;
    const double sd = std::sqrt(at - before), scale = std::sqrt(at);
    const double spend = spent_error(at, alpha) - spent_error(before, alpha);
    const auto leaves = [&](double z) { return k ? kept.back().leaves(z * scale, sd) : 2.0 * upper_tail(z); };
    double low = 0.0, high = 40.0;
    for (int i = 0; i < 100; ++i) {
      const double middle = 0.5 * (low + high);
      (leaves(middle) > spend ? low : high) = middle;
    }
    out.push_back(0.5 * (low + high));
    const double end = std::min(out.back(), kFarthest) * scale;
    if (k == 0) {
      kept.emplace_back(end, [&](double x) { return density(x / scale) / scale; });
    } else {
      const Kept& last = kept.back();
      Kept next(end, [&](double x) {
        double sum = 0.0;
        for (size_t i = 0; i < last.at.size(); ++i) sum += last.weighted[i] * density((x - last.at[i]) / sd);
        return sum / sd;
      });
      kept.push_back(std::move(next));
    }
  }
  return out;
}

double two_sided_quantile(double level) { return upper_quantile(0.5 * level); }

std::vector<double> spending_levels(std::span<const double> fractions, double alpha) {
  std::vector<double> out = spending_boundaries(fractions, alpha);
  for (double& z : out) z = 2.0 * upper_tail(z);
  return out;
}

}  // namespace scalevec::experiments
