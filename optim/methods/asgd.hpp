#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// Averaged SGD: p ← p − ηₜ(g + lambd·p) with ηₜ = η/(1 + lambd·η(t − 1))^alpha, and the average of p from step t0 on in
// the buffer `ax`. At a changing lr ηₜ is made from the lr of the step, PyTorch's from that of the step before. State:
// 4 bytes per element, of float64 8.
struct ASGD {
  static constexpr const char* kName = "asgd";
  static constexpr const char* kSource = "Polyak & Juditsky 1992; torch.optim.ASGD";
  static constexpr MethodDefaults kDefaults{1e-2, 0.0, DecayCoupling::l2};

  SCALEVEC_OPTIONS((double, lambd, 1e-4, kNonnegative, "decay of p with the step's lr; torch.optim.ASGD"),
                   (double, alpha, 0.75, kNonnegative, "power of the lr's decay; torch.optim.ASGD"),
                   (double, t0, 1e6, kNonnegative, "step at which the average begins; torch.optim.ASGD"))

  static constexpr std::array kState{"ax"};
  static constexpr bool kTimed = true;
  static constexpr bool kUnmodified = true;

  template <class T>
  struct Constants {
    T lr;      // ηₜ
    T shrink;  // lambd·ηₜ
    T keep;    // 1 less the weight of the new value in the average
  };

  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step& s) {
    const double lr = s.lr / std::pow(1.0 + o.lambd * s.lr * (s.t - 1.0), o.alpha), since = s.t - 1.0 - o.t0;
    return {lr, o.lambd * lr, 1.0 - 1.0 / (since > 1.0 ? since : 1.0)};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T p, T g, T&) {
    return c.shrink * p + c.lr * g;
  }

  template <class T>
  SCALEVEC_HD static void after(const Constants<T>& c, T p, T& average) {
    average = p + c.keep * (average - p);
  }
};

}  // namespace scalevec::methods
