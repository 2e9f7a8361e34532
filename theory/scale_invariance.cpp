#include "theory/scale_invariance.hpp"

#include <cmath>

#include "theory/domain.hpp"

namespace scalevec::theory {
namespace {

using namespace domain;

// x = ηλ, below 1: beyond it a step takes the weights past 0.
double check(double lr, double weight_decay, double momentum, const char* name) {
  positive("lr", lr);
  positive("weight_decay", weight_decay);
  fraction(name, momentum);
  const double x = lr * weight_decay;
  require(x < 1.0, "weight_decay", weight_decay, "less than 1/lr");
  return x;
}

double angle_of(double one_minus_cosine) { return 2.0 * std::asin(std::sqrt(0.5 * one_minus_cosine)); }

// With decoupled decay: the angle, and the squared length over its leading order.
double decoupled_angle(double x, double beta) { return angle_of(x * (1.0 - beta) / (1.0 + beta - beta * x)); }
double decoupled_length(double x, double beta) {
  const double kept = beta * (1.0 - x);
  return (1.0 - beta) * (1.0 + kept) / ((1.0 + beta) * (1.0 - kept) * (1.0 - 0.5 * x));
}

}  // namespace

Rotation sgd_decoupled_rotation(double lr, double weight_decay, double momentum, double grad_norm) {
  const double x = check(lr, weight_decay, momentum, "momentum"), left = 1.0 - momentum;
  positive("grad_norm", grad_norm);
  return {
      std::sqrt(grad_norm) * std::pow(lr / (2.0 * weight_decay * left * left) * decoupled_length(x, momentum), 0.25),
      decoupled_angle(x, momentum)};
}

Rotation sgd_coupled_rotation(double lr, double weight_decay, double momentum, double grad_norm) {
  const double x = check(lr, weight_decay, momentum, "momentum"), share = x / (1.0 + momentum);
  positive("grad_norm", grad_norm);
  return {std::sqrt(grad_norm) * std::pow(lr / (2.0 * weight_decay * (1.0 - momentum)) / (1.0 - 0.5 * share), 0.25),
          angle_of(share)};
}

Rotation adamw_rotation(double lr, double weight_decay, double beta1, double dimension) {
  const double x = check(lr, weight_decay, beta1, "beta1");
  require(std::isfinite(dimension) && dimension >= 2.0, "dimension", dimension, "at least 2");
  return {std::sqrt(lr * dimension / (2.0 * weight_decay) * decoupled_length(x, beta1)), decoupled_angle(x, beta1)};
}

Holds adamw_rotation_holds(double lr, double weight_decay, double beta2, double dimension) {
  const double x = check(lr, weight_decay, beta2, "beta2");
  Holds holds;
  at_least(holds, "the block's size d", dimension, 64.0);
  at_most(holds, "the memory of the second moment over that of the length, 2 lr lambda/(1 - beta2)",
          2.0 * x / (1.0 - beta2), 0.2);
  return holds;
}

Rotation adam_l2_rotation(double lr, double weight_decay, double beta1, double dimension, double grad_norm) {
  check(lr, weight_decay, beta1, "beta1");
  require(std::isfinite(dimension) && dimension >= 2.0, "dimension", dimension, "at least 2");
  positive("grad_norm", grad_norm);
  const double norm = std::cbrt(lr * std::sqrt(dimension) * grad_norm / (2.0 * weight_decay));
  return {norm, angle_of(0.5 * lr * dimension / (norm * norm) * lr * (1.0 - beta1) / (1.0 + beta1))};
}

Holds adam_l2_rotation_holds(double lr, double weight_decay, double beta1, double beta2, double dimension,
                             double grad_norm) {
  const Rotation at = adam_l2_rotation(lr, weight_decay, beta1, dimension, grad_norm);
  Holds holds;
  at_least(holds, "the block's size d", dimension, 64.0);
  // What the decay adds to the gradient's size, and the share of the weights that it takes in a step.
  at_most(holds, "the decay's share in the gradient, lambda |w|^2 / g", weight_decay * at.norm * at.norm / grad_norm,
          0.15);
  const double x = lr * weight_decay * at.norm * at.norm * std::sqrt(dimension) / grad_norm;
  at_most(holds, "what decay takes within the momentum's memory", x / (1.0 - beta1), 0.1);
  at_most(holds, "the memory of the second moment over that of the length", 2.0 * x / (1.0 - beta2), 0.2);
  return holds;
}

double adam_update_rms(double snr, double beta1) {
  require(snr >= 0.0, "snr", snr, "at least 0");
  fraction("beta1", beta1);
  const double noise = (1.0 - beta1) / (1.0 + beta1);
  // In 1/s² where s is large, so that s → ∞ gives 1.
  if (snr > 1.0) {
    const double inverse = 1.0 / snr / snr;
    return std::sqrt((1.0 + noise * inverse) / (1.0 + inverse));
  }
  return std::sqrt((snr * snr + noise) / (snr * snr + 1.0));
}

}  // namespace scalevec::theory
