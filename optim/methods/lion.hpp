#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// The sign of β₁m + (1 − β₁)g, then m ← β₂m + (1 − β₂)g. State: 4 bytes per element, of float64 8.
struct Lion {
  static constexpr const char* kName = "lion";
  static constexpr const char* kSource = "Chen et al., arXiv 2302.06675";
  static constexpr MethodDefaults kDefaults{1e-4, 0.0, DecayCoupling::lr};

  SCALEVEC_OPTIONS((double, beta1, 0.9, kFraction, "mix of momentum and gradient whose sign is taken; the paper"),
                   (double, beta2, 0.99, kFraction, "decay of the momentum; the paper"))

  static constexpr std::array kState{"exp_avg"};

  template <class T>
  struct Constants {
    T lr, one_minus_beta1, one_minus_beta2;
  };

  template <class Step>
  SCALEVEC_HD static constexpr Constants<double> constants(const Values& o, const Step& s) {
    return {s.lr, 1.0 - o.beta1, 1.0 - o.beta2};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& m) {
    const T direction = m + c.one_minus_beta1 * (g - m);
    m += c.one_minus_beta2 * (g - m);
    return c.lr * rules::sign(direction);
  }
};

}  // namespace scalevec::methods
