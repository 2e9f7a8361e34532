#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// Adam that divides before it averages: m ← β₁m + (1 − β₁)g/(√v̂ + ε), p ← p − η m̂. Defaults are those of the authors'
// code. State: 8 bytes per element, of float64 16.
struct LaProp {
  static constexpr const char* kName = "laprop";
  static constexpr const char* kSource = "Ziyin et al., arXiv 2002.04839";
  static constexpr MethodDefaults kDefaults{4e-4, 0.0, DecayCoupling::lr};

  SCALEVEC_OPTIONS((double, beta1, 0.9, kFraction, "decay of the mean of the normalised g; authors' code"),
                   (double, beta2, 0.999, kFraction, "decay of the mean of g²; authors' code"),
                   (double, eps, 1e-15, kNonnegative, "added to √v̂, 0/0 is no update; authors' code"))

  static constexpr std::array kState{"exp_avg", "exp_avg_sq"};
  static constexpr bool kAdaptive = true;

  template <class T>
  struct Constants {
    T one_minus_beta1, beta2, one_minus_beta2, step_size, inv_sqrt_bias2, eps;
  };

  SCALEVEC_HD static constexpr std::array<double, 2> powers(const Values& o) { return {o.beta1, o.beta2}; }

  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step& s) {
    return {1.0 - o.beta1, o.beta2, 1.0 - o.beta2, s.over_bias(s.lr, 0), s.inverse_root_bias(1), o.eps};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& m, T& v, T& inv_denom) {
    v = c.beta2 * v + c.one_minus_beta2 * g * g;
    inv_denom = rules::inverse_or_zero(std::sqrt(v) * c.inv_sqrt_bias2 + c.eps);
    m += c.one_minus_beta1 * (g * inv_denom - m);
    return c.step_size * m;
  }
};

}  // namespace scalevec::methods
