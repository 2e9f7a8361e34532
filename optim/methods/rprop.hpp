#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// Every element has a step of its own, η at first, which is multiplied by etaplus where two gradients that follow each
// other agree in sign and by etaminus where they do not; there it waits, and the next gradient counts as the first.
// p ← p − step·sign(g). As in PyTorch, η is the first step only. State: 8 bytes per element, of float64 16.
struct Rprop {
  static constexpr const char* kName = "rprop";
  static constexpr const char* kSource = "Riedmiller & Braun 1993; torch.optim.Rprop";
  static constexpr MethodDefaults kDefaults{1e-2, 0.0, DecayCoupling::l2};

  SCALEVEC_OPTIONS((double, etaminus, 0.5, kFraction, "factor where the sign changes; torch.optim.Rprop"),
                   (double, etaplus, 1.2, at_least(1.0), "factor where it stays; torch.optim.Rprop"),
                   (double, step_size_min, 1e-6, kNonnegative, "least step, up to step_size_max; torch.optim.Rprop"),
                   (double, step_size_max, 50.0, kNonnegative, "largest step; torch.optim.Rprop"))

  static constexpr std::array kState{"prev", "step_size"};

  static std::string conflict(const Values& o) {
    if (o.step_size_min <= o.step_size_max) return {};
    return "step_size_min: got " + std::to_string(o.step_size_min) + "; allowed: up to step_size_max, " +
           std::to_string(o.step_size_max);
  }

  template <class T>
  struct Constants {
    T start;  // 1 at the first step, else 0
    T lr, etaminus, etaplus, least, most;
  };

  template <class Step>
  SCALEVEC_HD static constexpr Constants<double> constants(const Values& o, const Step& s) {
    return {s.first ? 1.0 : 0.0, s.lr, o.etaminus, o.etaplus, o.step_size_min, o.step_size_max};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& before, T& size) {
    const T agreement = rules::sign(g) * rules::sign(before);
    const T factor = agreement > T(0) ? c.etaplus : agreement < T(0) ? c.etaminus : T(1);
    size = (c.start != T(0) ? c.lr : size) * factor;
    size = rules::larger(c.least, size < c.most ? size : c.most);
    before = agreement < T(0) ? T(0) : g;
    return size * rules::sign(before);
  }
};

}  // namespace scalevec::methods
