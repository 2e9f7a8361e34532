#pragma once

#include "optim/methods/method.hpp"

// What the methods with schedule-free averaging (Defazio et al., arXiv 2405.15682) have in common: the parameter is
// y = (1 − β)z + βx, where gradients are taken, z makes the steps, and x, their mean weighted by tʳ (max η)ᵖᵒʷᵉʳ, is
// what to validate and keep. The buffer is z − y.
namespace scalevec::methods::schedule_free {

inline constexpr std::array kScalars{"weight_sum", "lr_max", "mean_weight"};
inline constexpr const char* kAverage = "z_minus_y";

constexpr double average_weight(double beta) { return 1.0 - 1.0 / beta; }

// β is the option `name`.
inline std::string conflict(const char* name, double beta) {
  return beta > 0.0 ? std::string() : name + (": got " + std::to_string(beta)) + "; allowed: above 0";
}

// `o` has r and weight_lr_power.
template <class Values, class Step>
SCALEVEC_HD void advance(const Values& o, const Step& s, double* scalars) {
  double &sum = scalars[0], &lr_max = scalars[1], &mean_weight = scalars[2];
  lr_max = rules::larger(lr_max, s.lr);
  const double weight = std::pow(s.t, o.r) * std::pow(lr_max, o.weight_lr_power);
  sum += weight;
  mean_weight = sum > 0.0 ? weight / sum : 0.0;
}

// Of c, the weight of this step in the mean: 1 − β(1 − c), the share of z's step that y makes.
SCALEVEC_HD constexpr double share(double beta, double c) { return 1.0 - beta * (1.0 - c); }

// What y makes of z's step, with constants mean_weight (c), share and keep (1 − c); advances z − y.
template <class Constants, class T>
SCALEVEC_HD T step_of_mean(const Constants& c, T beta, T step, T& offset) {
  const T before = offset;
  offset = c.keep * (before - beta * step);
  return c.share * step - c.mean_weight * before;
}

}  // namespace scalevec::methods::schedule_free
