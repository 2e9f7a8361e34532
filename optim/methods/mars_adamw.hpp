#pragma once

#include "optim/methods/mars.hpp"

namespace scalevec::methods {

// AdamW on a variance-reduced gradient c = g + γ β₁/(1 − β₁) (g − g₋), g₋ the last step's, divided by its norm over the
// tensor where that is above 1 (Algorithm 2, the approximate form: g₋ is of the last batch at the last weights, and
// zero at first). State: 12 bytes per element, of float64 24.
struct MarsAdamW {
  static constexpr const char* kName = "mars_adamw";
  static constexpr const char* kSource = "Yuan et al., arXiv 2411.10438";
  static constexpr MethodDefaults kDefaults{3e-3, 0.0, DecayCoupling::lr};  // the authors' code

  SCALEVEC_OPTIONS((double, beta1, 0.95, kFraction, "decay of the mean of c; the authors' code"),
                   (double, beta2, 0.99, kFraction, "decay of the mean of c²; the authors' code"),
                   (double, gamma, 0.025, kNonnegative, "weight of the correction, 0 is clipped AdamW; the paper"),
                   (double, eps, 1e-8, kNonnegative, "added to √v̂, 0/0 is no update; the authors' code"))

  static constexpr std::array kState{"exp_avg", "exp_avg_sq", "previous_grad"};
  static constexpr auto kScalars = mars::kScalars;
  static constexpr bool kAdaptive = true;

  struct Measure : mars::Measure<Values> {
    static constexpr std::array kState = MarsAdamW::kState;
  };

  template <class Step>
  SCALEVEC_HD static void advance(const Values&, const Step&, const double* sums, double* clip) {
    mars::advance(sums, clip);
  }

  template <class T>
  struct Constants {
    T correction, clip, one_minus_beta1, beta2, one_minus_beta2;
    T step_size;       // η/(1 − β₁ᵗ)
    T inv_sqrt_bias2;  // 1/√(1 − β₂ᵗ)
    T eps;
  };

  SCALEVEC_HD static constexpr std::array<double, 2> powers(const Values& o) { return {o.beta1, o.beta2}; }

  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step& s) {
    return {mars::correction(o), *s.scalars,           1.0 - o.beta1,          o.beta2,
            1.0 - o.beta2,       s.over_bias(s.lr, 0), s.inverse_root_bias(1), o.eps};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& m, T& v, T& previous, T& inv_denom) {
    const T corrected = mars::corrected(c.correction, g, previous) * c.clip;
    previous = g;
    m += c.one_minus_beta1 * (corrected - m);
    v = c.beta2 * v + c.one_minus_beta2 * corrected * corrected;
    inv_denom = rules::inverse_or_zero(std::sqrt(v) * c.inv_sqrt_bias2 + c.eps);
    return c.step_size * m * inv_denom;
  }
};

}  // namespace scalevec::methods
