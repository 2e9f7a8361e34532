#include "experiments/statistics/vertex.hpp"

#include <algorithm>
#include <boost/math/distributions/fisher_f.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <map>
#include <set>
#include <stdexcept>

namespace scalevec::experiments {
namespace {

constexpr double kLevel = 0.05;           // of the test of fit
constexpr double kOctavesAround = 1.5;    // of the local fit
constexpr double kCurvatureTail = 0.025;  // one-sided

double student(double confidence, std::int64_t freedom) {
  return boost::math::quantile(
      boost::math::complement(boost::math::students_t(static_cast<double>(freedom)), 0.5 * (1.0 - confidence)));
}

// Losses by lr, on the same seeds for each.
struct Table {
  std::vector<double> lrs;
  std::vector<std::vector<double>> losses;  // per lr, per seed

  size_t seeds() const { return losses.empty() ? 0 : losses[0].size(); }
  double mean(size_t lr) const {
    double sum = 0.0;
    for (const double x : losses[lr]) sum += x;
    return sum / static_cast<double>(seeds());
  }
  size_t lowest() const {
    size_t best = 0;
    for (size_t i = 1; i < lrs.size(); ++i)
      if (mean(i) < mean(best)) best = i;
    return best;
  }
};

Table table_of(std::span<const TuningRun> runs) {
  std::map<double, std::map<std::int64_t, double>> by_lr;
  std::set<std::int64_t> seeds;
  for (const TuningRun& run : runs) {
    if (!(run.lr > 0.0) || !std::isfinite(run.lr)) throw std::invalid_argument("fit_vertex: an lr must be positive");
    if (!by_lr[run.lr].emplace(run.seed, run.loss).second)
      throw std::invalid_argument("fit_vertex: a run is given twice");
    seeds.insert(run.seed);
  }
  Table out;
  for (const auto& [lr, losses] : by_lr) {
    if (losses.size() != seeds.size()) continue;
    if (std::any_of(losses.begin(), losses.end(), [](const auto& l) { return !std::isfinite(l.second); })) continue;
    out.lrs.push_back(lr);
    std::vector<double>& row = out.losses.emplace_back();
    for (const auto& [seed, loss] : losses) row.push_back(loss);
  }
  if (out.lrs.size() < kFewestLrs) throw std::invalid_argument("fit_vertex: takes four learning rates at least");
  return out;
}

// With every lr on the same seeds, the seeds' offsets leave the slopes as those of the means over seeds; the residual
// sum of squares is that of the means' fit (times seeds), and of each run around its lr's and its seed's mean.
struct Quadratic {
  double slope, curve;       // of x and x² at x = log2 lr − origin
  double sxx, sxy, syy;      // centred sums of (x, x²), times the number of seeds
  double misfit, scatter;    // the two sums of squares
  double origin, at_origin;  // at_origin: the fitted loss there, mean over the seeds
};

Quadratic solve(const Table& t) {
  const size_t n = t.lrs.size();
  const auto seeds = static_cast<double>(t.seeds());
  Quadratic q{};
  q.origin = std::log2(t.lrs[t.lowest()]);
  std::vector<double> x(n), y(n), z(n);
  double mx = 0.0, my = 0.0, mz = 0.0;
  for (size_t i = 0; i < n; ++i) {
    x[i] = std::log2(t.lrs[i]) - q.origin;
    y[i] = x[i] * x[i];
    z[i] = t.mean(i);
    mx += x[i] / static_cast<double>(n);
    my += y[i] / static_cast<double>(n);
    mz += z[i] / static_cast<double>(n);
  }
  double sxz = 0.0, syz = 0.0;
  for (size_t i = 0; i < n; ++i) {
    q.sxx += (x[i] - mx) * (x[i] - mx);
    q.sxy += (x[i] - mx) * (y[i] - my);
    q.syy += (y[i] - my) * (y[i] - my);
    sxz += (x[i] - mx) * (z[i] - mz);
    syz += (y[i] - my) * (z[i] - mz);
  }
  const double det = q.sxx * q.syy - q.sxy * q.sxy;
  q.slope = (q.syy * sxz - q.sxy * syz) / det;
  q.curve = (q.sxx * syz - q.sxy * sxz) / det;
  q.at_origin = mz - q.slope * mx - q.curve * my;
  for (size_t i = 0; i < n; ++i) {
    const double r = z[i] - mz - q.slope * (x[i] - mx) - q.curve * (y[i] - my);
    q.misfit += seeds * r * r;
  }
  for (size_t s = 0; s < t.seeds(); ++s) {
    double seed_mean = 0.0;
    for (size_t i = 0; i < n; ++i) seed_mean += t.losses[i][s] / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) {
      const double r = t.losses[i][s] - z[i] - seed_mean + mz;
      q.scatter += r * r;
    }
  }
  q.sxx *= seeds;
  q.sxy *= seeds;
  q.syy *= seeds;
  return q;
}

// p of the misfit over the scatter. Exact data fit, whatever the last bits say.
double lack_of_fit(const Table& t, const Quadratic& q) {
  const auto n = static_cast<double>(t.lrs.size()), seeds = static_cast<double>(t.seeds());
  if (t.seeds() < 2) return kNaN;
  const double least = 1e-24 * (q.at_origin * q.at_origin + q.slope * q.slope + q.curve * q.curve);
  if (q.misfit <= least) return 1.0;
  if (q.scatter <= least) return 0.0;
  const double freedom = (n - 1.0) * (seeds - 1.0), f = q.misfit / (n - 3.0) / (q.scatter / freedom);
  return boost::math::cdf(boost::math::complement(boost::math::fisher_f(n - 3.0, freedom), f));
}

Table near_lowest(const Table& t) {
  const double at = std::log2(t.lrs[t.lowest()]);
  std::vector<size_t> order(t.lrs.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto distance = [&](size_t i) { return std::abs(std::log2(t.lrs[i]) - at); };
  // Of two that are equally far, the one with the lower loss: it is nearer to the minimum.
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::abs(distance(a) - distance(b)) > 1e-6 ? distance(a) < distance(b) : t.mean(a) < t.mean(b);
  });
  size_t kept = kFewestLrs;
  while (kept < order.size() && distance(order[kept]) <= kOctavesAround + 1e-6) ++kept;
  order.resize(kept);
  std::sort(order.begin(), order.end());
  Table out;
  for (const size_t i : order) {
    out.lrs.push_back(t.lrs[i]);
    out.losses.push_back(t.losses[i]);
  }
  return out;
}

}  // namespace

double VertexFit::excess(double confidence) const {
  const double t = student(confidence, freedom);
  return 0.5 * curvature * t * t * se * se;
}

VertexFit fit_vertex(std::span<const TuningRun> runs) {
  Table t = table_of(runs);
  VertexFit out;
  out.lowest = t.lrs[t.lowest()];
  Quadratic q = solve(t);
  out.lack_of_fit_p = lack_of_fit(t, q);
  if (out.lack_of_fit_p < kLevel && t.lrs.size() > kFewestLrs) {
    t = near_lowest(t);
    out.local = true;
    q = solve(t);
  }
  out.lrs = t.lrs;
  out.freedom = static_cast<std::int64_t>(t.lrs.size() * t.seeds() - t.seeds() - 2);
  const double variance = (q.misfit + q.scatter) / static_cast<double>(out.freedom);
  out.residual_sd = std::sqrt(variance);
  out.curvature = 2.0 * q.curve;
  const double det = q.sxx * q.syy - q.sxy * q.sxy;
  const double var_curve = variance * q.sxx / det;
  // A last bit is no curvature: a straight line is not a minimum however exact it is.
  const double noise = student(1.0 - 2.0 * kCurvatureTail, out.freedom) * std::sqrt(var_curve);
  const double rounding = 1e-12 * (std::abs(q.slope) + std::abs(q.at_origin));
  if (!(q.curve > std::max(noise, rounding))) return out;
  const double v = -q.slope / (2.0 * q.curve);
  out.log2_lr = q.origin + v;
  out.least = q.at_origin + (q.slope + q.curve * v) * v;
  // Gradient of −b/(2a) to the coefficients b of x and a of x², whose covariance is σ²(XᵀX)⁻¹.
  const double db = -1.0 / (2.0 * q.curve), da = -v / q.curve;
  out.se = std::sqrt(variance / det * (db * db * q.syy - 2.0 * db * da * q.sxy + da * da * q.sxx));
  using State = VertexFit::State;
  out.state = out.log2_lr < std::log2(t.lrs.front())  ? State::below
              : out.log2_lr > std::log2(t.lrs.back()) ? State::above
                                                      : State::inside;
  return out;
}

}  // namespace scalevec::experiments
