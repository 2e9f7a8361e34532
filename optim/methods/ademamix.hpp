#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// AdamW whose numerator is m̂₁ + αm₂, m₂ a second, slower mean of g (Algorithm 1). Defaults are those of the authors'
// code. State: 12 bytes per element, of float64 24.
struct AdEMAMix {
  static constexpr const char* kName = "ademamix";
  static constexpr const char* kSource = "Pagliardini et al., arXiv 2409.03137";
  static constexpr MethodDefaults kDefaults{1e-3, 0.0, DecayCoupling::lr};

  SCALEVEC_OPTIONS(
      (double, beta1, 0.9, kFraction, "decay of the fast mean of g; authors' code"),
      (double, beta2, 0.999, kFraction, "decay of the mean of g²; authors' code"),
      (double, eps, 1e-8, kNonnegative, "added to √v̂, 0/0 is no update; authors' code"),
      (double, beta3, 0.9999, kFraction, "decay of the slow mean of g; authors' code"),
      (double, alpha, 2.0, kNonnegative, "weight of the slow mean; authors' code, the paper's own runs take 4 to 10"),
      (std::int64_t, alpha_warmup, 0, kNonnegative, "steps over which α rises from 0; the paper takes the whole run"),
      (std::int64_t, beta3_warmup, 0, kNonnegative, "steps over which β₃ rises from β₁; the paper takes the whole run"))

  static constexpr std::array kState{"exp_avg_fast", "exp_avg_slow", "exp_avg_sq"};
  static constexpr bool kAdaptive = true;

  template <class T>
  struct Constants {
    T one_minus_beta1, beta2, one_minus_beta2, one_minus_beta3;
    T fast_size;       // η/(1 − β₁ᵗ)
    T slow_size;       // ηα
    T inv_sqrt_bias2;  // 1/√(1 − β₂ᵗ)
    T eps;
  };

  SCALEVEC_HD static constexpr std::array<double, 2> powers(const Values& o) { return {o.beta1, o.beta2}; }

  // Algorithm 1's warm-ups: α rises linearly from 0 over `alpha_warmup` steps, β₃ over `beta3_warmup` steps so that its
  // half-life goes linearly from β₁'s.
  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step& s) {
    const auto alpha_warmup = static_cast<double>(o.alpha_warmup), beta3_warmup = static_cast<double>(o.beta3_warmup);
    const double done = s.t / beta3_warmup;
    const double slow_beta =
        s.t < beta3_warmup ? std::exp(1.0 / ((1.0 - done) / std::log(o.beta1) + done / std::log(o.beta3))) : o.beta3;
    return {1.0 - o.beta1,          o.beta2,
            1.0 - o.beta2,          1.0 - slow_beta,
            s.over_bias(s.lr, 0),   s.lr * (s.t < alpha_warmup ? o.alpha * s.t / alpha_warmup : o.alpha),
            s.inverse_root_bias(1), o.eps};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& fast, T& slow, T& v, T& inv_denom) {
    fast += c.one_minus_beta1 * (g - fast);
    slow += c.one_minus_beta3 * (g - slow);
    v = c.beta2 * v + c.one_minus_beta2 * g * g;
    inv_denom = rules::inverse_or_zero(std::sqrt(v) * c.inv_sqrt_bias2 + c.eps);
    return (c.fast_size * fast + c.slow_size * slow) * inv_denom;
  }
};

}  // namespace scalevec::methods
