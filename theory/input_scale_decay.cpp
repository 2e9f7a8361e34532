#include "scalevec/theory/input_scale_decay.hpp"

#include <algorithm>
#include <cmath>

#include "scalevec/theory/dense.hpp"
#include "scalevec/theory/domain.hpp"
#include "scalevec/theory/root.hpp"

namespace scalevec {
namespace {

using namespace theory_domain;

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

double unchecked_gamma_sq(const InputScaleDecay& p, double t) {
  check(p);
  require(p.decay_gamma == 0.0, "decay_gamma", p.decay_gamma, "0");
  positive("decay_w", p.decay_w);
  not_negative("t", t);
  return 2.0 * p.target * std::sqrt(p.decay_w * t);
}

AdamWInputScale adamw_input_scale(const InputScaleDecay& p, double sigma, double lr, double rows) {
  check(p);
  positive("decay_w", p.decay_w);
  positive("sigma", sigma);
  positive("lr", lr);
  require(std::isfinite(rows) && rows >= 1.0, "rows", rows, "at least 1");
  // In γ, in which nothing cancels: w = R/(γ + σλ_w/h).
  const double pull = sigma * p.decay_w / p.h;
  const auto w_of = [&](double gamma) { return p.target / (gamma + pull); };
  const auto spread = [&](double gamma) { return rows * lr * sigma / (2.0 * gamma * p.h); };
  const auto excess = [&](double gamma) {
    const double w = w_of(gamma);
    return p.decay_w * w * w - 0.5 * rows * lr -
           p.decay_gamma * std::sqrt(gamma * gamma * w * w + gamma * rows * lr * sigma / (2.0 * p.h));
  };
  // Falls with γ: at γ = 0 only λ_w w² − ½cη is left, and where that is 0 at most 0.
  const double most = p.target / pull;
  require(p.decay_w * most * most > 0.5 * rows * lr, "lr", lr,
          "less, so that the noise leaves a column: 2λ_w(hR/(σλ_w))²/c");
  const double none = p.target / std::sqrt(0.5 * rows * lr / p.decay_w) - pull;
  const double gamma = p.decay_gamma == 0.0 ? none : falling_root(excess, 0.0, none), w = w_of(gamma),
               w_sq = w * w + spread(gamma), gap = pull * w;
  return {{gamma * w, gamma * gamma, w_sq}, 0.5 * p.h * gap * gap, lr * sigma * (rows * gamma + std::sqrt(w_sq)) / 4.0};
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

}  // namespace scalevec
