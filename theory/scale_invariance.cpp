#include "scalevec/theory/scale_invariance.hpp"

#include <cmath>

#include "scalevec/theory/domain.hpp"

namespace scalevec {
namespace {

using namespace theory_domain;

void check(double lr, double weight_decay, double momentum, const char* name) {
  positive("lr", lr);
  positive("weight_decay", weight_decay);
  fraction(name, momentum);
}

}  // namespace

Rotation sgd_decoupled_rotation(double lr, double weight_decay, double momentum, double grad_norm) {
  check(lr, weight_decay, momentum, "momentum");
  positive("grad_norm", grad_norm);
  const double left = 1.0 - momentum;
  return {std::sqrt(grad_norm) * std::pow(lr / (2.0 * weight_decay * left * left), 0.25),
          std::sqrt(2.0 * lr * weight_decay * left / (1.0 + momentum))};
}

Rotation sgd_coupled_rotation(double lr, double weight_decay, double momentum, double grad_norm) {
  check(lr, weight_decay, momentum, "momentum");
  positive("grad_norm", grad_norm);
  return {std::sqrt(grad_norm) * std::pow(lr / (2.0 * weight_decay * (1.0 - momentum)), 0.25),
          std::sqrt(2.0 * lr * weight_decay / (1.0 + momentum))};
}

Rotation adamw_rotation(double lr, double weight_decay, double beta1, double dimension) {
  check(lr, weight_decay, beta1, "beta1");
  require(std::isfinite(dimension) && dimension >= 1.0, "dimension", dimension, "at least 1");
  return {std::sqrt(lr * dimension / (2.0 * weight_decay)),
          std::sqrt(2.0 * lr * weight_decay * (1.0 - beta1) / (1.0 + beta1))};
}

}  // namespace scalevec
