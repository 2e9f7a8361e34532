#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// Adam with Nesterov's momentum, whose decay of the first mean μₜ = β₁(1 − ½·0.96^(tψ)) rises to β₁ (ψ =
// momentum_decay): p ← p − η((1 − μₜ)g/(1 − Πₜ) + μₜ₊₁m/(1 − Πₜμₜ₊₁))/(√v̂ + ε) with Πₜ = μ₁⋯μₜ. State: 8 bytes per
// element, of float64 16.
struct NAdam {
  static constexpr const char* kName = "nadam";
  static constexpr const char* kSource = "Dozat 2016; torch.optim.NAdam";
  static constexpr MethodDefaults kDefaults{2e-3, 0.0, DecayCoupling::l2};

  SCALEVEC_OPTIONS((double, beta1, 0.9, kFraction, "decay of the mean of g; torch.optim.NAdam"),
                   (double, beta2, 0.999, kFraction, "decay of the mean of g²; torch.optim.NAdam"),
                   (double, eps, 1e-8, kNonnegative, "added to √v̂, 0/0 is no update; torch.optim.NAdam"),
                   (double, momentum_decay, 4e-3, kNonnegative, "ψ of μₜ; torch.optim.NAdam"))

  static constexpr std::array kState{"exp_avg", "exp_avg_sq"};
  static constexpr bool kAdaptive = true;

  template <class T>
  struct Constants {
    T one_minus_beta1, beta2, one_minus_beta2, grad_size, mean_size, inv_sqrt_bias2, eps;
  };

  SCALEVEC_HD static constexpr std::array<double, 2> powers(const Values& o) { return {o.beta1, o.beta2}; }

  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step& s) {
    const auto mu = [&](double t) { return o.beta1 * (1.0 - 0.5 * std::pow(0.96, t * o.momentum_decay)); };
    const double base = std::pow(0.96, o.momentum_decay);
    double product = 1.0, power = 1.0;
    // Below 2⁻⁶⁰ it changes 1 − Π no more.
    for (double i = 1.0; i <= s.t && product > 0x1p-60; ++i) {
      power *= base;
      product *= o.beta1 * (1.0 - 0.5 * power);
    }
    const double now = mu(s.t), next = mu(s.t + 1.0);
    return {1.0 - o.beta1,
            o.beta2,
            1.0 - o.beta2,
            s.lr * (1.0 - now) / (1.0 - product),
            s.lr * next / (1.0 - product * next),
            s.inverse_root_bias(1),
            o.eps};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& m, T& v, T& inv_denom) {
    m += c.one_minus_beta1 * (g - m);
    v = c.beta2 * v + c.one_minus_beta2 * g * g;
    inv_denom = rules::inverse_or_zero(std::sqrt(v) * c.inv_sqrt_bias2 + c.eps);
    return (c.grad_size * g + c.mean_size * m) * inv_denom;
  }
};

}  // namespace scalevec::methods
