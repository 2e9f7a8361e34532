#include "theory/stability.hpp"

#include <cmath>
#include <limits>

#include "theory/domain.hpp"
#include "theory/input_scale_decay.hpp"
#include "theory/root.hpp"

namespace scalevec::theory {

using namespace domain;

double momentum_edge(double top_curvature, double momentum) {
  positive("top_curvature", top_curvature);
  fraction("momentum", momentum);
  return 2.0 * (1.0 + momentum) / top_curvature;
}

double adam_edge(double preconditioned_curvature, double beta1) {
  positive("preconditioned_curvature", preconditioned_curvature);
  fraction("beta1", beta1);
  return 2.0 * (1.0 + beta1) / (1.0 - beta1) / preconditioned_curvature;
}

double adam_live_share(double held_share, double beta1) {
  not_negative("held_share", held_share);
  fraction("beta1", beta1);
  const double memory = (1.0 + beta1) / (1.0 - beta1);
  // In the logarithm of the two sides, rising in x; the left one has no bound at x = 1.
  const auto missing = [&](double x) {
    if (x <= 0.0) return held_share > 0.0 ? 1.0 : 0.0;
    if (x >= 1.0) return -1.0;
    return std::log(held_share / x) - 0.5 * std::log1p(x * memory / (1.0 - x));
  };
  return falling_root(missing, 0.0, 1.0);
}

Holds adam_edge_holds(double held_share, double beta1) {
  not_negative("held_share", held_share);
  fraction("beta1", beta1);
  const double inflated = held_share / adam_live_share(std::max(held_share, 1e-300), beta1);
  Holds holds;
  at_most(holds, "the second moment over the noise's, for the error's own swing", inflated * inflated, 1.2);
  return holds;
}

Holds pair_edge_holds(double gamma, double w_norm, double displacement) {
  positive("gamma", gamma);
  positive("w_norm", w_norm);
  not_negative("displacement", displacement);
  Holds holds;
  at_most(holds, "the displacement beside the smaller of gamma and |w|", displacement / std::min(gamma, w_norm), 1e-3);
  return holds;
}

double pair_curvature(double h, double gamma, double w_norm) {
  positive("h", h);
  finite("gamma", gamma);
  not_negative("w_norm", w_norm);
  return h * (gamma * gamma + w_norm * w_norm);
}

double pair_adam_curvature(double h, double sigma, double gamma, double w_norm) {
  positive("h", h);
  positive("sigma", sigma);
  finite("gamma", gamma);
  not_negative("w_norm", w_norm);
  return h * ((std::abs(gamma) + w_norm) / sigma);
}

double self_stabilising_lr(double h, double target) {
  positive("h", h);
  finite("target", target);
  return target == 0.0 ? std::numeric_limits<double>::infinity() : 1.0 / std::abs(target) / h;
}

double largest_stable_imbalance(double h, double target, double lr) {
  positive("lr", lr);
  const double most = self_stabilising_lr(h, target);
  if (lr >= most) return 0.0;
  // (a − b)(a + b), which keeps its digits next to the largest lr.
  const double edge = 2.0 / lr / h, least = 2.0 * std::abs(target);
  return std::sqrt(edge - least) * std::sqrt(edge + least);
}

double decay_lr_gain(double h, double target, double imbalance, double decay_gamma, double decay_w) {
  const double now = top_curvature(h, target, imbalance);
  positive("decay_w", decay_w);
  const InputScaleEquilibrium at = group_lasso_equilibrium({h, target, decay_gamma, decay_w});
  require(at.length > 0.0, "decay_gamma", decay_gamma, "less than (hR)²/decay_w, so that a column is left");
  return now / (h * (at.gamma_sq + at.w_sq));
}

}  // namespace scalevec::theory
