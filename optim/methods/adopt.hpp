#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// Adam that divides by the mean of the squares before this gradient: n = g/max(√v, ε) clipped to ±(t − 1)^¼,
// m ← β₁m + (1 − β₁)n, p ← p − ηm, then v ← β₂v + (1 − β₂)g² (Algorithm 2). The first step only sets v = g². Defaults
// are those of the authors' code. State: 8 bytes per element, of float64 16.
struct ADOPT {
  static constexpr const char* kName = "adopt";
  static constexpr const char* kSource = "Taniguchi et al., arXiv 2411.02853";
  static constexpr MethodDefaults kDefaults{1e-3, 0.0, DecayCoupling::lr};

  SCALEVEC_OPTIONS((double, beta1, 0.9, kFraction, "decay of the mean of the normalised g; authors' code"),
                   (double, beta2, 0.9999, kFraction, "decay of the mean of g²; authors' code"),
                   (double, eps, 1e-6, kNonnegative, "least √v, no update where both are 0; authors' code"))

  static constexpr std::array kState{"exp_avg", "exp_avg_sq"};
  static constexpr bool kAdaptive = true;
  static constexpr bool kTimed = true;

  template <class T>
  struct Constants {
    T lr, one_minus_beta1;  // 0 at the first step
    T beta2, one_minus_beta2, eps, most;
  };

  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step& s) {
    if (s.first) return {0.0, 0.0, 0.0, 1.0, o.eps, 0.0};
    return {s.lr, 1.0 - o.beta1, o.beta2, 1.0 - o.beta2, o.eps, std::sqrt(std::sqrt(s.t - 1.0))};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& m, T& v, T& inv_denom) {
    inv_denom = rules::inverse_or_zero(rules::larger(std::sqrt(v), c.eps));
    const T low = rules::larger(-c.most, g * inv_denom), normed = low < c.most ? low : c.most;
    m += c.one_minus_beta1 * (normed - m);
    v = c.beta2 * v + c.one_minus_beta2 * g * g;
    return c.lr * m;
  }
};

}  // namespace scalevec::methods
