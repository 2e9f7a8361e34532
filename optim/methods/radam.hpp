#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// Adam whose adaptive lr is rectified by r(t) for the variance that it has at the start, and is left out, p ← p − η m̂,
// while that variance is not defined (ρ ≤ 5). ε is added to √v before the correction, as in PyTorch. State: 8 bytes per
// element, of float64 16.
struct RAdam {
  static constexpr const char* kName = "radam";
  static constexpr const char* kSource = "Liu et al., arXiv 1908.03265";
  static constexpr MethodDefaults kDefaults{1e-3, 0.0, DecayCoupling::l2};

  SCALEVEC_OPTIONS((double, beta1, 0.9, kFraction, "decay of the mean of g; torch.optim.RAdam"),
                   (double, beta2, 0.999, kFraction, "decay of the mean of g²; torch.optim.RAdam"),
                   (double, eps, 1e-8, kNonnegative, "added to √v, 0/0 is no update; torch.optim.RAdam"))

  static constexpr std::array kState{"exp_avg", "exp_avg_sq"};
  static constexpr bool kAdaptive = true;

  template <class T>
  struct Constants {
    T one_minus_beta1, beta2, one_minus_beta2;
    T step_size;        // η/(1 − β₁ᵗ)
    T plain, adaptive;  // 1 and 0 while ρ ≤ 5, then 0 and r·√(1 − β₂ᵗ)
    T eps;
  };

  SCALEVEC_HD static constexpr std::array<double, 2> powers(const Values& o) { return {o.beta1, o.beta2}; }

  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step& s) {
    const double most = 2.0 / (1.0 - o.beta2) - 1.0, bias2 = 1.0 - s.power[1];
    const double rho = most - 2.0 * s.t * s.power[1] / bias2;
    const bool rectified = rho > 5.0;
    const double square = (rho - 4.0) * (rho - 2.0) * most / ((most - 4.0) * (most - 2.0) * rho);
    return {1.0 - o.beta1,
            o.beta2,
            1.0 - o.beta2,
            s.over_bias(s.lr, 0),
            rectified ? 0.0 : 1.0,
            rectified ? std::sqrt(square) * std::sqrt(bias2) : 0.0,
            o.eps};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& m, T& v, T& inv_denom) {
    m += c.one_minus_beta1 * (g - m);
    v = c.beta2 * v + c.one_minus_beta2 * g * g;
    inv_denom = c.plain + c.adaptive * rules::inverse_or_zero(std::sqrt(v) + c.eps);
    return c.step_size * m * inv_denom;
  }
};

}  // namespace scalevec::methods
