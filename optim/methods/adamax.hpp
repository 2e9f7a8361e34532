#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// Adam with the decayed largest gradient u ← max(β₂u, |g| + ε) in place of √v̂. State: 8 bytes per element, of float64
// 16.
struct Adamax {
  static constexpr const char* kName = "adamax";
  static constexpr const char* kSource = "Kingma & Ba, arXiv 1412.6980, Algorithm 2";
  static constexpr MethodDefaults kDefaults{2e-3, 0.0, DecayCoupling::l2};

  SCALEVEC_OPTIONS((double, beta1, 0.9, kFraction, "decay of the mean of g; torch.optim.Adamax"),
                   (double, beta2, 0.999, kFraction, "decay of the largest magnitude of g; torch.optim.Adamax"),
                   (double, eps, 1e-8, kNonnegative,
                    "added to the magnitude of g, 0/0 is no update; torch.optim.Adamax"))

  static constexpr std::array kState{"exp_avg", "exp_inf"};
  static constexpr bool kAdaptive = true;

  template <class T>
  struct Constants {
    T one_minus_beta1, beta2;
    T step_size;  // η/(1 − β₁ᵗ)
    T eps;
  };

  SCALEVEC_HD static constexpr std::array<double, 1> powers(const Values& o) { return {o.beta1}; }

  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step& s) {
    return {1.0 - o.beta1, o.beta2, s.over_bias(s.lr, 0), o.eps};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& m, T& u, T& inv_denom) {
    m += c.one_minus_beta1 * (g - m);
    u = rules::larger(c.beta2 * u, (g < T(0) ? -g : g) + c.eps);
    inv_denom = rules::inverse_or_zero(u);
    return c.step_size * m * inv_denom;
  }
};

}  // namespace scalevec::methods
