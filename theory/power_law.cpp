#include "theory/power_law.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <unsupported/Eigen/LevenbergMarquardt>
#include <vector>

#include "theory/domain.hpp"

namespace scalevec::theory {
namespace {

// Unknowns: ln E, ln of the removable loss at the middle compute, ln α.
struct Residuals : Eigen::DenseFunctor<double> {
  std::vector<double> x, y;  // ln C about its mean, ln L
  double huber;

  Residuals(std::vector<double> xs, std::vector<double> ys, double delta)
      : DenseFunctor<double>(3, static_cast<int>(xs.size())), x(std::move(xs)), y(std::move(ys)), huber(delta) {}

  // The residual whose square is twice Huber's loss, and its slope.
  double weighed(double r, double& slope) const {
    const double a = std::abs(r);
    if (a <= huber) {
      slope = 1.0;
      return r;
    }
    const double root = std::sqrt(2.0 * huber * a - huber * huber);
    slope = huber / root;
    return r < 0.0 ? -root : root;
  }

  int operator()(const Eigen::VectorXd& p, Eigen::VectorXd& out) const {
    for (int i = 0; i < values(); ++i) {
      double slope = 0.0;
      const auto at = static_cast<std::size_t>(i);
      out[i] = weighed(std::log(std::exp(p[0]) + std::exp(p[1] - std::exp(p[2]) * x[at])) - y[at], slope);
    }
    return 0;
  }

  int df(const Eigen::VectorXd& p, Eigen::MatrixXd& jacobian) const {
    for (int i = 0; i < values(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      const double alpha = std::exp(p[2]), floor = std::exp(p[0]), rest = std::exp(p[1] - alpha * x[at]);
      double slope = 0.0;
      weighed(std::log(floor + rest) - y[at], slope);
      jacobian(i, 0) = slope * floor / (floor + rest);
      jacobian(i, 1) = slope * rest / (floor + rest);
      jacobian(i, 2) = -slope * alpha * x[at] * rest / (floor + rest);
    }
    return 0;
  }
};

}  // namespace

double PowerLaw::loss(double compute) const {
  domain::positive("compute", compute);
  return floor + std::exp(log_factor - exponent * std::log(compute));
}

std::optional<double> PowerLaw::compute(double loss) const {
  if (!(loss > floor)) return std::nullopt;
  return std::exp((log_factor - std::log(loss - floor)) / exponent);
}

std::optional<PowerLaw> fit_power_law(std::span<const double> compute, std::span<const double> loss, double huber,
                                      const PowerLaw* near) {
  if (compute.size() != loss.size() || compute.size() < 4 || !(huber > 0.0)) return std::nullopt;
  std::vector<double> x, y;
  double middle = 0.0, least = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < compute.size(); ++i) {
    if (!(compute[i] > 0.0) || !(loss[i] > 0.0) || !std::isfinite(compute[i] * loss[i])) return std::nullopt;
    x.push_back(std::log(compute[i]));
    y.push_back(std::log(loss[i]));
    middle += x.back() / static_cast<double>(compute.size());
    least = std::min(least, loss[i]);
  }
  if (std::set<double>(x.begin(), x.end()).size() < 3) return std::nullopt;
  for (double& v : x) v -= middle;
  const double first = *std::min_element(compute.begin(), compute.end()),
               last = *std::max_element(compute.begin(), compute.end());
  Residuals residuals(x, y, huber);
  std::optional<PowerLaw> best;
  double least_cost = std::numeric_limits<double>::infinity();
  const auto solve = [&](double log_floor, double log_rest, double log_exponent) {
    Eigen::VectorXd p(3);
    p << log_floor, log_rest, log_exponent;
    Eigen::LevenbergMarquardt<Residuals> solver(residuals);
    solver.setMaxfev(400);
    solver.setXtol(1e-10);
    solver.setFtol(1e-13);
    solver.minimize(p);
    Eigen::VectorXd r(residuals.values());
    residuals(p, r);
    const double cost = r.squaredNorm(), exponent = std::exp(p[2]);
    if (!std::isfinite(cost) || !(cost < least_cost) || !(exponent > 0.0 && exponent < 3.0)) return;
    const PowerLaw law{std::exp(p[0]), p[1] + exponent * middle, exponent};
    // A law that falls by nothing says nothing of an exponent.
    if (!(law.loss(first) - law.loss(last) > 1e-6 * law.loss(last))) return;
    least_cost = cost;
    best = law;
  };
  if (near) {
    solve(std::log(std::max(near->floor, 1e-6 * least)), near->log_factor - near->exponent * middle,
          std::log(near->exponent));
    return best;
  }
  for (const double share : {0.05, 0.5, 0.9})
    for (const double alpha : {0.05, 0.2, 0.6})
      solve(std::log(share * least), std::log((1.0 - share) * least), std::log(alpha));
  return best;
}

}  // namespace scalevec::theory
