#include "theory/input_scale_decay.hpp"

#include <algorithm>
#include <cmath>

#include "theory/dense.hpp"
#include "theory/domain.hpp"
#include "theory/root.hpp"

namespace scalevec::theory {
namespace {

using namespace domain;

void check(const InputScaleDecay& p) {
  positive("h", p.h);
  positive("target", p.target);
  not_negative("decay_gamma", p.decay_gamma);
  not_negative("decay_w", p.decay_w);
}

void both_decay(const InputScaleDecay& p) {
  check(p);
  positive("decay_gamma", p.decay_gamma);
  positive("decay_w", p.decay_w);
}

}  // namespace

double imbalance_rate(const InputScaleDecay& p, double gamma_sq, double w_sq) {
  check(p);
  not_negative("gamma_sq", gamma_sq);
  not_negative("w_sq", w_sq);
  return 2.0 * (p.decay_w * w_sq - p.decay_gamma * gamma_sq);
}

double equal_decay_imbalance(double imbalance, double decay, double t) {
  finite("imbalance", imbalance);
  not_negative("decay", decay);
  not_negative("t", t);
  return imbalance * std::exp(-2.0 * decay * t);
}

InputScaleEquilibrium split_length(double length, double imbalance) {
  not_negative("length", length);
  finite("imbalance", imbalance);
  const double larger = 0.5 * (std::abs(imbalance) + std::hypot(imbalance, 2.0 * length));
  const double smaller = larger > 0.0 ? length / larger * length : 0.0;
  return imbalance >= 0.0 ? InputScaleEquilibrium{length, larger, smaller}
                          : InputScaleEquilibrium{length, smaller, larger};
}

InputScaleEquilibrium group_lasso_equilibrium(const InputScaleDecay& p) {
  both_decay(p);
  const double length = std::max(0.0, p.target - std::sqrt(p.decay_gamma) * std::sqrt(p.decay_w) / p.h);
  const double ratio = std::sqrt(p.decay_w) / std::sqrt(p.decay_gamma);  // γ/‖w‖
  return {length, length * ratio, length / ratio};
}

double unchecked_gamma_sq(const InputScaleDecay& p, double gamma0_sq, double t) {
  check(p);
  require(p.decay_gamma == 0.0, "decay_gamma", p.decay_gamma, "0");
  positive("decay_w", p.decay_w);
  positive("gamma0_sq", gamma0_sq);
  not_negative("t", t);
  if (t == 0.0) return gamma0_sq;
  // The growth z of ln γ⁴: z + (γ(0)⁴/R²)(e^z − 1) = 4λ_wt, whose left side is at least z.
  const double start = gamma0_sq / p.target, most = 4.0 * p.decay_w * t;
  const double cap = std::min(most, std::log1p(most / start / start));
  const auto missing = [&](double z) { return most - z - start * start * std::expm1(z); };
  return gamma0_sq * std::exp(0.5 * falling_root(missing, 0.0, cap));
}

Holds unchecked_gamma_sq_holds(const InputScaleDecay& p, double gamma0_sq) {
  check(p);
  positive("gamma0_sq", gamma0_sq);
  Holds holds;
  // The column follows γ at the rate hγ², less where it is the smaller of the two.
  at_most(holds, "lambda_w over h times the smaller of gamma(0)^2 and R",
          p.decay_w / p.h / std::min(gamma0_sq, p.target), 0.02);
  return holds;
}

namespace {

struct Paired {
  double sigma;   // 1/σ: what one unit of gradient moves the column by, per unit of γ and lr
  double spread;  // η times the sum over the column of its steps' long-run variance
  double gain;    // the column's response to a small gradient over γ's, both in units of their noise
};

InputScaleEquilibrium paired_equilibrium(const InputScaleDecay& p, const Paired& by) {
  const double pull = by.sigma * p.decay_w / p.h;
  require(std::isfinite(pull), "sigma", by.sigma, "less: sigma lambda_w / h is not finite");
  const auto mean = [&](double gamma) { return p.target / (gamma + pull); };
  const auto total = [&](double gamma) {
    const double w = mean(gamma);
    return w * w + 0.5 * by.spread * (by.sigma / p.h) / (gamma + pull);
  };
  // (γ + pull)² times λ_w‖w‖² − ½spread − gain λ_γγ‖w‖, in terms that neither cancel nor have a pole.
  const auto excess = [&](double gamma) {
    const double x = gamma + pull;
    return p.decay_w * p.target * p.target - 0.5 * by.spread * gamma * x -
           by.gain * p.decay_gamma * gamma * x *
               std::sqrt(p.target * p.target + 0.5 * by.spread * (by.sigma / p.h) * x);
  };
  // Without decay on γ: γ² + pull γ = 2λ_wR²/spread.
  const double product = p.target * std::sqrt(2.0 * p.decay_w / by.spread);
  const double none = product / (0.5 * pull / product + std::hypot(0.5 * pull / product, 1.0));
  const double gamma = p.decay_gamma == 0.0 ? none : falling_root(excess, 0.0, none);
  return {gamma * mean(gamma), gamma * gamma, total(gamma)};
}

}  // namespace

AdamWInputScale adamw_input_scale(const InputScaleDecay& p, double sigma, double lr, double rows) {
  check(p);
  positive("decay_w", p.decay_w);
  positive("sigma", sigma);
  positive("lr", lr);
  require(std::isfinite(rows) && rows >= 1.0, "rows", rows, "at least 1");
  const InputScaleEquilibrium at = paired_equilibrium(p, {sigma, rows * lr, 1.0});
  const double gamma = std::sqrt(at.gamma_sq), w = std::sqrt(at.w_sq), pull = sigma * p.decay_w / p.h,
               gap = pull * (at.length / gamma);
  // Each fluctuation is held by curvature and decay together.
  return {at, 0.5 * p.h * gap * gap,
          lr * sigma * (rows * gamma * (gamma / (gamma + pull)) + w * (w / (w + sigma * p.decay_gamma / p.h))) / 4.0};
}

Holds adamw_input_scale_holds(const InputScaleDecay& p, double sigma, double lr, double rows) {
  const AdamWInputScale got = adamw_input_scale(p, sigma, lr, rows);
  const double gamma = std::sqrt(got.at.gamma_sq), w = std::sqrt(got.at.w_sq);
  Holds holds;
  at_most(holds, "the mean gradient over its noise, lambda_w |w|", p.decay_w * w, 0.25);
  at_most(holds, "the same for the scale, lambda_gamma gamma", p.decay_gamma * gamma, 0.25);
  at_most(holds, "the share of the target that decay takes", 1.0 - got.at.length / p.target, 0.5);
  at_most(holds, "the error's share in the gradient, lr h (c gamma + |w|) / sigma",
          lr * p.h * (rows * gamma + w) / sigma, 0.5);
  at_most(holds, "the scale's variance over its square, lr sigma/(2 h |w| gamma^2)",
          lr * sigma / (2.0 * p.h * w * got.at.gamma_sq), 0.03);
  return holds;
}

double top_curvature(double h, double target, double imbalance) {
  positive("h", h);
  finite("target", target);
  finite("imbalance", imbalance);
  return h * std::hypot(imbalance, 2.0 * target);
}

double curvature_trace(double h, double target, double imbalance, double rows) {
  positive("h", h);
  require(std::isfinite(rows) && rows >= 1.0, "rows", rows, "at least 1");
  finite("target", target);
  const InputScaleEquilibrium at = split_length(std::abs(target), imbalance);
  return h * (rows * at.gamma_sq + at.w_sq);
}

std::vector<double> curvature_spectrum(const std::vector<double>& h, const std::vector<double>& theta,
                                       double imbalance) {
  require(!h.empty() && h.size() == theta.size(), "theta", static_cast<double>(theta.size()), "as many elements as h");
  const std::size_t c = h.size(), n = c + 1;
  for (const double x : h) positive("h", x);
  for (const double x : theta) finite("theta", x);
  const InputScaleEquilibrium at = split_length(length_of(theta), imbalance);
  const double gamma = std::sqrt(at.gamma_sq);
  require(gamma > 0.0, "imbalance", imbalance, "above 0 where theta is 0, and not so far below 0 that γ² vanishes");
  std::vector<double> a(n * n, 0.0);
  for (std::size_t i = 0; i < c; ++i) {
    const double s = std::sqrt(h[i]), on = s * gamma, beside = s * theta[i] / gamma;
    a[i * n + i] = on * on;
    a[c * n + i] = on * beside;
    a[c * n + c] += beside * beside;
  }
  return symmetric_eigenvalues(std::move(a), n);
}

}  // namespace scalevec::theory
