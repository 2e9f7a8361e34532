#include "theory/channel_rate.hpp"

#include <cmath>

#include "theory/domain.hpp"

namespace scalevec::theory {

using namespace domain;

double channel_rate(double imbalance, double r) {
  finite("imbalance", imbalance);
  finite("r", r);
  return std::hypot(imbalance, 2.0 * r);
}

double equivalent_rate(const Flow& flow, double t) {
  positive("t", t);
  require(flow.initial != flow.target, "initial", flow.initial, "not the target");
  const double moved = flow_position(flow, t) - flow.initial, way = flow.target - flow.initial;
  // By what is left where that is the smaller part, by what is gone where it is.
  const double logarithm =
      std::abs(moved) < 0.5 * std::abs(way) ? -std::log1p(-moved / way) : -std::log(flow_gap(flow, t) / way);
  return logarithm / (flow.h * t);
}

Holds fixed_channel_rate_holds(const Flow& flow) {
  finite("target", flow.target);
  finite("initial", flow.initial);
  finite("imbalance", flow.imbalance);
  const double most = std::max(std::abs(flow.target), std::abs(flow.initial));
  Holds holds;
  // e^{−τ} and e^{−sτ} differ by at most (s − 1)/e, s = √(1 + 4r²/k²).
  at_most(holds, "the largest |r| over |k|", most == 0.0 ? 0.0 : most / std::abs(flow.imbalance), 0.25);
  return holds;
}

double sign_descent_length(double gamma0, double t) {
  not_negative("gamma0", gamma0);
  not_negative("t", t);
  return t * (gamma0 + t);
}

namespace {

double relative(double theta, double imbalance) {
  finite("theta", theta);
  finite("imbalance", imbalance);
  require(imbalance != 0.0, "imbalance", imbalance, "not 0");
  return 2.0 * theta / std::abs(imbalance);
}

}  // namespace

double mirror_potential(double theta, double imbalance) {
  const double x = relative(theta, imbalance);
  // ¼|k|(x asinh x − √(1 + x²) + 1), by its series where the terms cancel: x²/2 − x⁴/24 + …
  if (std::abs(x) < 0.3) {
    const double y = x * x;
    // Coefficients of ∫ asinh: (−1)^n (2n)!/(4^n (n!)² (2n + 1)(2n + 2)) x^{2n+2}.
    double term = 1.0, sum = 0.0;
    for (int n = 0; std::abs(term) > 1e-20; ++n) {
      sum += term / ((2 * n + 1.0) * (2 * n + 2.0));
      term *= -y * (2 * n + 1.0) / (2 * n + 2.0);
    }
    return 0.25 * std::abs(imbalance) * y * sum;
  }
  const double root = std::hypot(1.0, x);
  return 0.25 * std::abs(imbalance) * (x * std::asinh(x) - x / (root + 1.0) * x);
}

double mirror_slope(double theta, double imbalance) { return 0.5 * std::asinh(relative(theta, imbalance)); }

}  // namespace scalevec::theory
