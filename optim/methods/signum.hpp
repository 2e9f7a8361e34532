#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// The sign of b ← μb + (1 − μ)g; μ = 0 is signSGD. State: 4 bytes per element, of float64 8.
struct Signum {
  static constexpr const char* kName = "signum";
  static constexpr const char* kSource = "Bernstein et al., arXiv 1802.04434";
  static constexpr MethodDefaults kDefaults{1e-4, 0.0, DecayCoupling::lr};

  SCALEVEC_OPTIONS((double, momentum, 0.9, kFraction, "μ, decay of the mean of g; the paper"))

  static constexpr std::array kState{"momentum_buffer"};

  template <class T>
  struct Constants {
    T lr, one_minus_momentum;
  };

  template <class Step>
  SCALEVEC_HD static constexpr Constants<double> constants(const Values& o, const Step& s) {
    return {s.lr, 1.0 - o.momentum};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& b) {
    b += c.one_minus_momentum * (g - b);
    return c.lr * rules::sign(b);
  }
};

}  // namespace scalevec::methods
