#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// AdamW's denominator under schedule-free averaging (Algorithm 1): the parameter is y = (1 − β₁)z + β₁x, where
// gradients are taken, z makes the steps, and x, their mean weighted by tʳ (max η)ᵖᵒʷᵉʳ, is what to validate and keep
// (Optimizer::use_average_weights). Decay is part of the step, at y. The lr needs a warm-up and no other schedule.
// State: 8 bytes per element, of float64 16.
struct ScheduleFreeAdamW {
  static constexpr const char* kName = "schedulefree_adamw";
  static constexpr const char* kSource = "Defazio et al., arXiv 2405.15682";
  static constexpr MethodDefaults kDefaults{2.5e-3, 0.0, DecayCoupling::lr};  // the authors' code

  SCALEVEC_OPTIONS((double, beta1, 0.9, kFraction, "weight of the mean in y, above 0; the authors' code"),
                   (double, beta2, 0.999, kFraction, "decay of the mean of g²; the authors' code"),
                   (double, eps, 1e-8, kNonnegative, "added to √v̂, 0/0 is no update; the authors' code"),
                   (double, r, 0.0, kNonnegative, "power of t in a step's weight; the authors' code"),
                   (double, weight_lr_power, 2.0, kNonnegative,
                    "power of the largest lr so far in a step's weight; the authors' code"))

  static constexpr std::array kState{"exp_avg_sq", "z_minus_y"};
  static constexpr std::array kScalars{"weight_sum", "lr_max", "mean_weight"};
  static constexpr bool kAdaptive = true;
  static constexpr bool kOwnDecay = true;

  static constexpr const char* kAverage = "z_minus_y";
  static double average_weight(const Values& o) { return 1.0 - 1.0 / o.beta1; }

  static std::string conflict(const Values& o) {
    return o.beta1 > 0.0 ? std::string() : "beta1: got " + std::to_string(o.beta1) + "; allowed: above 0";
  }

  template <class Step>
  static void advance(const Values& o, const Step& s, const double*, double* scalars) {
    double &sum = scalars[0], &lr_max = scalars[1], &mean_weight = scalars[2];
    lr_max = rules::larger(lr_max, s.lr);
    const double weight = std::pow(s.t, o.r) * std::pow(lr_max, o.weight_lr_power);
    sum += weight;
    mean_weight = sum > 0.0 ? weight / sum : 0.0;
  }

  template <class T>
  struct Constants {
    T lr, beta2, one_minus_beta2;
    T inv_sqrt_bias2;  // 1/√(1 − β₂ᵗ)
    T eps;
    T mean_weight;  // c, of this step in the mean
    T share;        // 1 − β₁(1 − c), of z's step that y makes
    T keep;         // 1 − c
    T beta1;
  };

  SCALEVEC_HD static constexpr std::array<double, 1> powers(const Values& o) { return {o.beta2}; }

  template <class Step>
  static Constants<double> constants(const Values& o, const Step& s) {
    const double c = s.scalars[2];
    return {s.lr,    o.beta2, 1.0 - o.beta2, s.inverse_root_bias(0), o.eps, c, 1.0 - o.beta1 * (1.0 - c),
            1.0 - c, o.beta1};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T decay, T& v, T& offset, T& inv_denom) {
    v = c.beta2 * v + c.one_minus_beta2 * g * g;
    inv_denom = rules::inverse_or_zero(std::sqrt(v) * c.inv_sqrt_bias2 + c.eps);
    const T step = c.lr * g * inv_denom + decay, before = offset;
    offset = c.keep * (before - c.beta1 * step);
    return c.share * step - c.mean_weight * before;
  }
};

}  // namespace scalevec::methods
