#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// Stochastic gradient descent with momentum in PyTorch's form: b ← μb + (1 − dampening)g with b = g at the first step,
// p ← p − ηb. State: 4 bytes per element with a momentum, of float64 8; none without.
struct SGD {
  static constexpr const char* kName = "sgd";
  static constexpr const char* kSource = "torch.optim.SGD";
  static constexpr const char* kTorch = "SGD";
  static constexpr MethodDefaults kDefaults{1e-3, 0.0, DecayCoupling::l2};

  SCALEVEC_OPTIONS((double, momentum, 0.0, kNonnegative, "μ, 0 keeps no buffer; torch.optim.SGD"),
                   (double, dampening, 0.0, kAnyNumber, "of what enters the momentum; torch.optim.SGD"),
                   (bool, nesterov, false, kSwitch, "p ← p − η(g + μb); torch.optim.SGD"))

  static constexpr std::array kState{"momentum_buffer"};
  static constexpr unsigned kOptional = 0b1;
  static bool needs(const Values& o, std::size_t) { return o.momentum != 0.0; }

  static std::string conflict(const Values& o) {
    if (!o.nesterov || (o.momentum > 0.0 && o.dampening == 0.0)) return {};
    return "nesterov: got true with momentum " + std::to_string(o.momentum) + " and dampening " +
           std::to_string(o.dampening) + "; allowed: with momentum above 0 and dampening 0";
  }

  template <class T>
  struct Constants {
    T lr, momentum, one_minus_dampening;
    T nesterov;  // 1 or 0: a bool in the loop over elements keeps compilers from vectorising it
  };

  template <class Step>
  SCALEVEC_HD static constexpr Constants<double> constants(const Values& o, const Step& s) {
    const bool plain = o.momentum == 0.0;
    return {s.lr, o.momentum, plain || s.first ? 1.0 : 1.0 - o.dampening, o.nesterov && !plain ? 1.0 : 0.0};
  }

  template <class T, class Buffer>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, Buffer& buffer) {
    T b = T(0);
    if constexpr (kHeld<Buffer>) b = buffer;
    b = c.momentum * b + c.one_minus_dampening * g;
    if constexpr (kHeld<Buffer>) buffer = b;
    const T ahead = g + c.momentum * b;
    return c.lr * (c.nesterov != T(0) ? ahead : b);
  }
};

}  // namespace scalevec::methods
