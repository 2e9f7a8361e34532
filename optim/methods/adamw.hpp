#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// Adam with decoupled decay: m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², p ← p − η m̂/(√v̂ + ε), m̂ and v̂ corrected
// for their start at zero; `amsgrad` divides by the largest v so far. State: 8 bytes per element and 4 for `amsgrad`,
// of float64 twice that.
struct AdamW {
  static constexpr const char* kName = "adamw";
  static constexpr const char* kSource = "Loshchilov & Hutter, arXiv 1711.05101";
  static constexpr const char* kTorch = "Adam or AdamW";
  static constexpr MethodDefaults kDefaults{1e-3, 1e-2, DecayCoupling::lr};  // torch.optim.AdamW's

  SCALEVEC_OPTIONS((double, beta1, 0.9, kFraction, "decay of the mean of g; torch.optim.AdamW"),
                   (double, beta2, 0.999, kFraction, "decay of the mean of g²; torch.optim.AdamW"),
                   (double, eps, 1e-8, kNonnegative, "added to √v̂, 0/0 is no update; torch.optim.AdamW"),
                   (bool, amsgrad, false, later(kSwitch),
                    "divides by the largest v so far, arXiv 1904.09237; torch.optim.AdamW"))

  static constexpr std::array kState{"exp_avg", "exp_avg_sq", "max_exp_avg_sq"};
  static constexpr unsigned kOptional = 0b100;
  static bool needs(const Values& o, std::size_t) { return o.amsgrad; }
  static constexpr bool kAdaptive = true;

  template <class T>
  struct Constants {
    T one_minus_beta1, beta2, one_minus_beta2;
    T step_size;       // η/(1 − β₁ᵗ)
    T inv_sqrt_bias2;  // 1/√(1 − β₂ᵗ)
    T eps;
    T amsgrad;  // 1 or 0
  };

  SCALEVEC_HD static constexpr std::array<double, 2> powers(const Values& o) { return {o.beta1, o.beta2}; }

  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step& s) {
    return {1.0 - o.beta1,          o.beta2, 1.0 - o.beta2,        s.over_bias(s.lr, 0),
            s.inverse_root_bias(1), o.eps,   o.amsgrad ? 1.0 : 0.0};
  }

  template <class T, class Largest>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& m, T& v, Largest& largest, T& inv_denom) {
    advance(c, g, m, v);
    T square = v;
    if constexpr (kHeld<Largest>) {
      largest = rules::larger(largest, v);
      square = c.amsgrad != T(0) ? largest : v;
    }
    return step(c, m, std::sqrt(square), inv_denom);
  }

  template <class T>
  SCALEVEC_HD static void advance(const Constants<T>& c, T g, T& m, T& v) {
    m += c.one_minus_beta1 * (g - m);
    v = c.beta2 * v + c.one_minus_beta2 * g * g;
  }
  template <class T>
  SCALEVEC_HD static T step(const Constants<T>& c, T m, T root_v, T& inv_denom) {
    inv_denom = rules::inverse_or_zero(root_v * c.inv_sqrt_bias2 + c.eps);
    return c.step_size * m * inv_denom;
  }
};

}  // namespace scalevec::methods
