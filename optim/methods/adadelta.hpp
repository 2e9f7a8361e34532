#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// The gradient over its running root mean square, times that of the steps: d = g·√(a + ε)/√(v + ε), a ← ρa + (1 − ρ)d²,
// p ← p − ηd. State: 8 bytes per element, of float64 16.
struct Adadelta {
  static constexpr const char* kName = "adadelta";
  static constexpr const char* kSource = "Zeiler, arXiv 1212.5701";
  static constexpr MethodDefaults kDefaults{1.0, 0.0, DecayCoupling::l2};

  SCALEVEC_OPTIONS((double, rho, 0.9, kFraction, "decay of both means of squares; torch.optim.Adadelta"),
                   (double, eps, 1e-6, kNonnegative, "added to both, 0/0 is no update; torch.optim.Adadelta"))

  static constexpr std::array kState{"square_avg", "acc_delta"};
  static constexpr bool kAdaptive = true;

  template <class T>
  struct Constants {
    T lr, rho, one_minus_rho, eps;
  };

  template <class Step>
  SCALEVEC_HD static constexpr Constants<double> constants(const Values& o, const Step& s) {
    return {s.lr, o.rho, 1.0 - o.rho, o.eps};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& v, T& steps, T& inv_denom) {
    v = c.rho * v + c.one_minus_rho * g * g;
    inv_denom = std::sqrt(steps + c.eps) * rules::inverse_or_zero(std::sqrt(v + c.eps));
    const T step = g * inv_denom;
    steps = c.rho * steps + c.one_minus_rho * step * step;
    return c.lr * step;
  }
};

}  // namespace scalevec::methods
