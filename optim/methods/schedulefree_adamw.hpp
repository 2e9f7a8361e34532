#pragma once

#include "optim/methods/schedule_free.hpp"

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
  static constexpr auto kScalars = schedule_free::kScalars;
  static constexpr bool kAdaptive = true;
  static constexpr bool kOwnDecay = true;

  static constexpr const char* kAverage = schedule_free::kAverage;
  static double average_weight(const Values& o) { return schedule_free::average_weight(o.beta1); }

  static std::string conflict(const Values& o) { return schedule_free::conflict("beta1", o.beta1); }

  template <class Step>
  SCALEVEC_HD static void advance(const Values& o, const Step& s, const double*, double* scalars) {
    schedule_free::advance(o, s, scalars);
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
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step& s) {
    const double c = s.scalars[2];
    return {s.lr,    o.beta2, 1.0 - o.beta2, s.inverse_root_bias(0), o.eps, c, schedule_free::share(o.beta1, c),
            1.0 - c, o.beta1};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T decay, T& v, T& offset, T& inv_denom) {
    v = c.beta2 * v + c.one_minus_beta2 * g * g;
    inv_denom = rules::inverse_or_zero(std::sqrt(v) * c.inv_sqrt_bias2 + c.eps);
    return schedule_free::step_of_mean(c, c.beta1, c.lr * g * inv_denom + decay, offset);
  }
};

}  // namespace scalevec::methods
