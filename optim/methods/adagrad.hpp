#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// Every element's gradient over the root of the sum of its squares: p ← p − ηₜ g/(√Σg² + ε), ηₜ = η/(1 + (t −
// 1)·lr_decay). State: 4 bytes per element, of float64 8.
struct Adagrad {
  static constexpr const char* kName = "adagrad";
  static constexpr const char* kSource = "Duchi et al. 2011; torch.optim.Adagrad";
  static constexpr const char* kTorch = "Adagrad";
  static constexpr MethodDefaults kDefaults{1e-2, 0.0, DecayCoupling::l2};

  SCALEVEC_OPTIONS((double, lr_decay, 0.0, kNonnegative, "of the lr with the steps; torch.optim.Adagrad"),
                   (double, initial_accumulator_value, 0.0, kNonnegative, "of Σg²; torch.optim.Adagrad"),
                   (double, eps, 1e-10, kNonnegative, "added to √Σg², 0/0 is no update; torch.optim.Adagrad"))

  static constexpr std::array kState{"sum"};
  static constexpr bool kAdaptive = true;
  static constexpr bool kTimed = true;

  template <class T>
  struct Constants {
    T lr, eps;
    T start;  // what the sum starts from, at the first step
  };

  template <class Step>
  SCALEVEC_HD static constexpr Constants<double> constants(const Values& o, const Step& s) {
    return {s.lr / (1.0 + (s.t - 1.0) * o.lr_decay), o.eps, s.first ? o.initial_accumulator_value : 0.0};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& sum, T& inv_denom) {
    sum += c.start + g * g;
    inv_denom = rules::inverse_or_zero(std::sqrt(sum) + c.eps);
    return c.lr * g * inv_denom;
  }
};

}  // namespace scalevec::methods
