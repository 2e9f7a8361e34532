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

// Unknowns: ln E, then for each ladder ln of the removable loss at the middle compute and ln α.
struct Residuals : Eigen::DenseFunctor<double> {
  struct Point {
    Eigen::Index ladder;
    double x, y;  // ln C about its mean, ln L
  };
  std::vector<Point> points;
  double huber;

  Residuals(std::vector<Point> all, int ladders, double delta)
      : DenseFunctor<double>(1 + 2 * ladders, static_cast<int>(all.size())), points(std::move(all)), huber(delta) {}

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
      const auto& [ladder, x, y] = points[static_cast<std::size_t>(i)];
      double slope = 0.0;
      out[i] =
          weighed(std::log(std::exp(p[0]) + std::exp(p[1 + 2 * ladder] - std::exp(p[2 + 2 * ladder]) * x)) - y, slope);
    }
    return 0;
  }

  int df(const Eigen::VectorXd& p, Eigen::MatrixXd& jacobian) const {
    jacobian.setZero();
    for (int i = 0; i < values(); ++i) {
      const auto& [ladder, x, y] = points[static_cast<std::size_t>(i)];
      const Eigen::Index at = 1 + 2 * ladder;
      const double alpha = std::exp(p[at + 1]), floor = std::exp(p[0]), rest = std::exp(p[at] - alpha * x);
      double slope = 0.0;
      weighed(std::log(floor + rest) - y, slope);
      jacobian(i, 0) = slope * floor / (floor + rest);
      jacobian(i, at) = slope * rest / (floor + rest);
      jacobian(i, at + 1) = -slope * alpha * x * rest / (floor + rest);
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

std::optional<std::vector<PowerLaw>> fit_power_laws(std::span<const LossOverCompute> ladders, double huber,
                                                    std::span<const PowerLaw> near) {
  if (ladders.empty() || !(huber > 0.0) || !(near.empty() || near.size() == ladders.size())) return std::nullopt;
  std::vector<Residuals::Point> points;
  double middle = 0.0;
  std::vector<double> least;  // loss of each ladder
  for (std::size_t k = 0; k < ladders.size(); ++k) {
    const auto& [compute, loss] = ladders[k];
    if (compute.size() != loss.size()) return std::nullopt;
    for (std::size_t i = 0; i < compute.size(); ++i) {
      if (!(compute[i] > 0.0) || !(loss[i] > 0.0) || !std::isfinite(compute[i] * loss[i])) return std::nullopt;
      points.push_back({static_cast<Eigen::Index>(k), std::log(compute[i]), std::log(loss[i])});
      middle += points.back().x;
    }
    if (std::set<double>(compute.begin(), compute.end()).size() < 3) return std::nullopt;
    least.push_back(*std::min_element(loss.begin(), loss.end()));
  }
  if (points.size() < 2 + 2 * ladders.size()) return std::nullopt;
  middle /= static_cast<double>(points.size());
  for (Residuals::Point& point : points) point.x -= middle;
  const double lowest = *std::min_element(least.begin(), least.end());
  Residuals residuals(std::move(points), static_cast<int>(ladders.size()), huber);
  std::optional<std::vector<PowerLaw>> best;
  double least_cost = std::numeric_limits<double>::infinity();
  const auto solve = [&](Eigen::VectorXd p) {
    Eigen::LevenbergMarquardt<Residuals> solver(residuals);
    solver.setMaxfev(400);
    solver.setXtol(1e-10);
    solver.setFtol(1e-13);
    solver.minimize(p);
    Eigen::VectorXd r(residuals.values());
    residuals(p, r);
    const double cost = r.squaredNorm();
    if (!std::isfinite(cost) || !(cost < least_cost)) return;
    std::vector<PowerLaw> laws;
    for (std::size_t k = 0; k < ladders.size(); ++k) {
      const auto at = static_cast<Eigen::Index>(1 + 2 * k);
      const double exponent = std::exp(p[at + 1]);
      if (!(exponent > 0.0 && exponent < 3.0)) return;
      const PowerLaw law{std::exp(p[0]), p[at] + exponent * middle, exponent};
      const auto [first, last] = std::minmax_element(ladders[k].compute.begin(), ladders[k].compute.end());
      // A law that falls by nothing says nothing of an exponent.
      if (!(law.loss(*first) - law.loss(*last) > 1e-6 * law.loss(*last))) return;
      laws.push_back(law);
    }
    least_cost = cost;
    best = std::move(laws);
  };
  const auto unknowns = static_cast<Eigen::Index>(1 + 2 * ladders.size());
  if (!near.empty()) {
    Eigen::VectorXd p(unknowns);
    p[0] = std::log(std::max(near[0].floor, 1e-6 * lowest));
    for (std::size_t k = 0; k < near.size(); ++k) {
      const auto at = static_cast<Eigen::Index>(1 + 2 * k);
      p[at] = near[k].log_factor - near[k].exponent * middle;
      p[at + 1] = std::log(near[k].exponent);
    }
    solve(p);
    return best;
  }
  for (const double share : {0.05, 0.5, 0.9})
    for (const double alpha : {0.05, 0.2, 0.6}) {
      Eigen::VectorXd p(unknowns);
      p[0] = std::log(share * lowest);
      for (std::size_t k = 0; k < ladders.size(); ++k) {
        const auto at = static_cast<Eigen::Index>(1 + 2 * k);
        p[at] = std::log(least[k] - share * lowest);
        p[at + 1] = std::log(alpha);
      }
      solve(p);
    }
  return best;
}

}  // namespace scalevec::theory
