#include "theory/branches.hpp"

#include <algorithm>
#include <boost/math/quadrature/gauss_kronrod.hpp>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <cstdint>

#include "theory/domain.hpp"
#include "theory/flow.hpp"
#include "theory/input_scale_decay.hpp"
#include "theory/root.hpp"

namespace scalevec::theory {
namespace {

using namespace domain;

void check(const Branches& b) {
  require(!b.h.empty(), "h", 0.0, "one curvature per branch");
  require(b.h.size() == b.target.size(), "target", static_cast<double>(b.target.size()), "as many elements as h");
  for (const double h : b.h) positive("h", h);
  for (const double r : b.target) finite("target", r);
}

void same_size(const std::vector<double>& a, const std::vector<double>& b, const char* name) {
  require(a.size() == b.size(), name, static_cast<double>(b.size()), "as many elements as the others");
}

void all_finite(const std::vector<double>& v, const char* name) {
  for (const double x : v) finite(name, x);
}

// Of diag(d) + zzᵀ, d > 0, each to relative accuracy whatever the other is, which a dense solver does not give: roots
// of Σ z_i²/(λ − d_i) = 1, sought as the distance from the pole below them.
CurvatureRange spectrum_ends(const std::vector<double>& d, const std::vector<double>& z) {
  const std::size_t n = d.size();
  const auto first = static_cast<std::size_t>(std::min_element(d.begin(), d.end()) - d.begin());
  // Another pole on the first, or no z there, leaves d itself an eigenvalue; other poles bound the root.
  double others = INFINITY, squares = 0.0, top = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    if (i != first) others = std::min(others, d[i]);
    squares += z[i] * z[i];
    if (z[i] != 0.0) top = std::max(top, d[i]);
  }
  CurvatureRange ends{d[first], *std::max_element(d.begin(), d.end())};
  if (z[first] != 0.0) {
    const double width = std::min(others - d[first], squares);
    const auto surplus = [&](double from) {
      double sum = z[first] * z[first] / from - 1.0;
      for (std::size_t i = 0; i < n; ++i)
        if (i != first && z[i] != 0.0) sum -= z[i] * z[i] / (d[i] - d[first] - from);
      return sum;
    };
    ends.least += falling_root(surplus, 0.0, width);
  }
  if (squares > 0.0) {
    const auto surplus = [&](double from) {
      double sum = -1.0;
      for (std::size_t i = 0; i < n; ++i)
        if (z[i] != 0.0) sum += z[i] * z[i] / (from + (top - d[i]));
      return sum;
    };
    ends.largest = std::max(ends.largest, top + falling_root(surplus, 0.0, squares));
  }
  return ends;
}

}  // namespace

CurvatureRange shared_curvatures(const Branches& b, double imbalance) {
  check(b);
  const InputScaleEquilibrium at = split_length(length_of(b.target), imbalance);
  require(at.gamma_sq > 0.0, "imbalance", imbalance,
          "above 0 where every target is 0, and not so far below 0 that γ² vanishes");
  std::vector<double> diagonal, column;
  for (std::size_t c = 0; c < b.h.size(); ++c) {
    diagonal.push_back(at.gamma_sq * b.h[c]);
    column.push_back(std::sqrt(b.h[c] / at.gamma_sq) * b.target[c]);
  }
  return spectrum_ends(diagonal, column);
}

CurvatureRange own_curvatures(const Branches& b, double imbalance) {
  check(b);
  double low = INFINITY, high = 0.0;
  for (std::size_t c = 0; c < b.h.size(); ++c) {
    const double rate = top_curvature(b.h[c], b.target[c], imbalance);
    low = std::min(low, rate);
    high = std::max(high, rate);
  }
  require(low > 0.0, "imbalance", imbalance, "not 0 where a target is 0");
  return {low, high};
}

double best_descent_steps(double condition_number, double relative) {
  require(condition_number >= 1.0, "condition_number", condition_number, "at least 1");
  require(relative > 0.0 && relative < 1.0, "relative", relative, "in (0, 1)");
  if (condition_number == 1.0) return 1.0;  // the least number that there is
  return -std::log(relative) / (2.0 * std::log1p(2.0 / (condition_number - 1.0)));
}

Holds branch_race_holds(const Branches& branches, double imbalance, double relative) {
  positive("imbalance", imbalance);
  const CurvatureRange shared = shared_curvatures(branches, imbalance), own = own_curvatures(branches, imbalance);
  Holds holds;
  const double least = std::min(shared.condition_number(), own.condition_number());
  at_least(holds, "the smaller condition number", least, 5.0);
  at_most(holds, "the loss to reach", relative, 1e-8);
  // The start moves a branch at the rate h|k| where the end has h√(k² + 4R²); only so many steps of the race are it.
  double largest = 0.0;
  for (std::size_t c = 0; c < branches.h.size(); ++c)
    largest = std::max(largest, std::abs(branches.target[c]) / imbalance);
  at_most(holds, "the largest |R| over the imbalance", largest, 3.0);
  return holds;
}

namespace {

// Of a smooth function that falls from above 0 to below it over [low, high]; an end where it does not.
template <class F>
double smooth_root(const F& f, double low, double high) {
  const double at_low = f(low), at_high = f(high);
  if (!(at_low > 0.0)) return low;
  if (!(at_high < 0.0)) return high;
  std::uintmax_t most = 200;
  const boost::math::tools::eps_tolerance<double> close(48);
  const auto [a, b] = boost::math::tools::toms748_solve(f, low, high, at_low, at_high, close, most);
  return a + 0.5 * (b - a);
}

void check_time(const Branches& b, double imbalance, double relative) {
  check(b);
  positive("imbalance", imbalance);
  require(relative > 0.0 && relative < 1.0, "relative", relative, "in (0, 1)");
  const double length = length_of(b.target);
  require(length > 0.0, "target", length, "not 0 in every branch");
}

// A share of the branches that moves as one: curvature h, target R, and S of the steeper ones.
struct Stage {
  double h = 0.0, target = 0.0, steeper = 0.0, imbalance = 0.0;

  double rate(double r) const {
    const double s = r * r, x = split_length(std::sqrt(steeper + s), imbalance).gamma_sq;
    return h * (x + s * x / (x * x + steeper));
  }
  // R − r after time t, over R: e^{−y} with dy/dt = rate.
  double gap(double t) const {
    using boost::math::quadrature::gauss_kronrod;
    const auto missing = [&](double y) {
      const auto slowness = [&](double z) { return 1.0 / rate(-target * std::expm1(-z)); };
      return t - gauss_kronrod<double, 31>::integrate(slowness, 0.0, y, 12, 1e-11);
    };
    return std::exp(-smooth_root(missing, t * rate(0.0), t * rate(target)));
  }
};

// Of the largest curvature first.
std::vector<Stage> stages(const Branches& b, double imbalance) {
  std::vector<std::size_t> order(b.h.size());
  for (std::size_t c = 0; c < order.size(); ++c) order[c] = c;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t c) { return b.h[a] > b.h[c]; });
  std::vector<Stage> out;
  double steeper = 0.0;
  for (const std::size_t c : order) {
    if (out.empty() || out.back().h != b.h[c]) out.push_back({b.h[c], 0.0, steeper, imbalance});
    out.back().target = std::hypot(out.back().target, b.target[c]);
    steeper += b.target[c] * b.target[c];
  }
  return out;
}

}  // namespace

double own_flow_time(const Branches& b, double imbalance, double relative) {
  check_time(b, imbalance, relative);
  double most = 0.0, first = 0.0;
  for (std::size_t c = 0; c < b.h.size(); ++c) {
    if (b.target[c] == 0.0) continue;
    most = std::max(most, flow_time_to_loss({b.h[c], b.target[c], imbalance, 0.0}, relative));
    first += b.h[c] * b.target[c] * b.target[c];
  }
  const auto missing = [&](double t) {
    double loss = 0.0;
    for (std::size_t c = 0; c < b.h.size(); ++c)
      if (b.target[c] != 0.0) loss += b.h[c] * std::pow(flow_gap({b.h[c], b.target[c], imbalance, 0.0}, t), 2);
    return loss / first - relative;
  };
  return smooth_root(missing, 0.0, most);
}

double shared_flow_time(const Branches& b, double imbalance, double relative) {
  check_time(b, imbalance, relative);
  const std::vector<Stage> all = stages(b, imbalance);
  double most = 0.0, first = 0.0;
  for (const Stage& s : all) {
    if (s.target == 0.0) continue;
    most = std::max(most, -0.5 * std::log(relative) / s.rate(0.0));
    first += s.h * s.target * s.target;
  }
  const auto missing = [&](double t) {
    double loss = 0.0;
    for (const Stage& s : all)
      if (s.target != 0.0) loss += s.h * std::pow(s.target * s.gap(t), 2);
    return loss / first - relative;
  };
  return smooth_root(missing, 0.0, most);
}

Holds shared_flow_time_holds(const Branches& b) {
  check(b);
  const std::vector<Stage> all = stages(b, 1.0);
  Holds holds;
  for (std::size_t i = 0; i + 1 < all.size(); ++i)
    at_least(holds, "the ratio of one curvature to the next smaller one", all[i].h / all[i + 1].h, 6.0);
  return holds;
}

double descent_steps(double flow_time, const CurvatureRange& curvatures, double lr) {
  not_negative("flow_time", flow_time);
  positive("lr", lr);
  require(lr * curvatures.largest <= 1.0 + 1e-12, "lr", lr, "at most 1/largest curvature");
  const double x = lr * curvatures.least;
  require(x > 0.0 && x < 1.0, "curvatures", curvatures.least, "least above 0 and below the largest");
  return flow_time / lr * x / -std::log1p(-x);
}

double shared_rate(double gamma, const std::vector<double>& w, const std::vector<double>& grad) {
  same_size(w, grad, "grad");
  finite("gamma", gamma);
  all_finite(w, "w");
  all_finite(grad, "grad");
  double squares = 0.0, dot = 0.0;
  for (std::size_t c = 0; c < w.size(); ++c) {
    squares += grad[c] * grad[c];
    dot += w[c] * grad[c];
  }
  return gamma * gamma * squares + dot * dot;
}

double own_rate(const std::vector<double>& gamma, const std::vector<double>& w, const std::vector<double>& grad) {
  same_size(gamma, w, "w");
  same_size(gamma, grad, "grad");
  all_finite(gamma, "gamma");
  all_finite(w, "w");
  all_finite(grad, "grad");
  double sum = 0.0;
  for (std::size_t c = 0; c < w.size(); ++c) sum += (gamma[c] * gamma[c] + w[c] * w[c]) * grad[c] * grad[c];
  return sum;
}

std::vector<double> shared_decay_equilibrium(const Branches& b, double weight_decay) {
  check(b);
  not_negative("weight_decay", weight_decay);
  for (const double h : b.h) require(h == b.h[0], "h", h, "the same for every branch");
  const double length = length_of(b.target);
  std::vector<double> theta = b.target;
  const double kept = length > 0.0 ? std::max(0.0, 1.0 - weight_decay / (b.h[0] * length)) : 0.0;
  for (double& x : theta) x *= kept;
  return theta;
}

std::vector<double> own_decay_equilibrium(const Branches& b, double weight_decay) {
  check(b);
  not_negative("weight_decay", weight_decay);
  std::vector<double> theta;
  for (std::size_t c = 0; c < b.h.size(); ++c)
    theta.push_back(std::copysign(std::max(0.0, std::abs(b.target[c]) - weight_decay / b.h[c]), b.target[c]));
  return theta;
}

}  // namespace scalevec::theory
