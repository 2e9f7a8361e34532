#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// The gradient over its running root mean square, p ← p − η g/(√v + ε); with a momentum b ← μb + g/(√v + ε), p ← p −
// ηb; `centered` divides by the standard deviation √(v − m²), which is 0 where rounding would make it imaginary. State:
// 4 bytes per element, and 4 each for a momentum and for `centered`; of float64 twice that.
struct RMSprop {
  static constexpr const char* kName = "rmsprop";
  static constexpr const char* kSource = "Tieleman & Hinton 2012; torch.optim.RMSprop";
  static constexpr const char* kTorch = "RMSprop";
  static constexpr MethodDefaults kDefaults{1e-2, 0.0, DecayCoupling::l2};

  SCALEVEC_OPTIONS((double, alpha, 0.99, kFraction, "decay of the mean of g²; torch.optim.RMSprop"),
                   (double, eps, 1e-8, kNonnegative, "added to the root, 0/0 is no update; torch.optim.RMSprop"),
                   (double, momentum, 0.0, kNonnegative, "μ, 0 keeps no buffer; torch.optim.RMSprop"),
                   (bool, centered, false, kSwitch,
                    "divides by the standard deviation, with alpha above 0; torch.optim.RMSprop"))

  static constexpr std::array kState{"square_avg", "momentum_buffer", "grad_avg"};
  static constexpr unsigned kOptional = 0b110;
  static bool needs(const Values& o, std::size_t buffer) { return buffer == 1 ? o.momentum != 0.0 : o.centered; }
  static constexpr bool kAdaptive = true;

  static std::string conflict(const Values& o) {
    if (!o.centered || o.alpha > 0.0) return {};
    return "centered: got true with alpha 0, where no variance is left; allowed: with alpha above 0";
  }

  template <class T>
  struct Constants {
    T lr, alpha, one_minus_alpha, eps, momentum;
    T centered;  // 1 or 0
  };

  template <class Step>
  SCALEVEC_HD static constexpr Constants<double> constants(const Values& o, const Step& s) {
    return {s.lr, o.alpha, 1.0 - o.alpha, o.eps, o.momentum, o.centered ? 1.0 : 0.0};
  }

  template <class T, class Momentum, class Mean>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& v, Momentum& b, Mean& m, T& inv_denom) {
    v = c.alpha * v + c.one_minus_alpha * g * g;
    T square = v;
    if constexpr (kHeld<Mean>) {
      m += c.one_minus_alpha * (g - m);
      square = rules::larger(v - c.centered * m * m, T(0));
    }
    inv_denom = rules::inverse_or_zero(std::sqrt(square) + c.eps);
    const T step = g * inv_denom;
    if constexpr (kHeld<Momentum>) {
      b = c.momentum * b + step;
      return c.lr * b;
    } else {
      return c.lr * step;
    }
  }
};

}  // namespace scalevec::methods
