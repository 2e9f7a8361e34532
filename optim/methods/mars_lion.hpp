#pragma once

#include "optim/methods/mars.hpp"

namespace scalevec::methods {

// The sign of the mean m ← β₁m + (1 − β₁)c of a variance-reduced gradient c = g + γ β₁/(1 − β₁) (g − g₋), g₋ the last
// step's and zero at first, divided by its norm over the tensor where that is above 1 (Algorithm 3). State: 8 bytes per
// element, of float64 16.
struct MarsLion {
  static constexpr const char* kName = "mars_lion";
  static constexpr const char* kSource = "Yuan et al., arXiv 2411.10438";
  static constexpr MethodDefaults kDefaults{3e-4, 0.0, DecayCoupling::lr};

  SCALEVEC_OPTIONS((double, beta1, 0.95, kFraction, "decay of the mean of c; the authors' code"),
                   (double, gamma, 0.025, kNonnegative, "weight of the correction; the paper"))

  static constexpr std::array kState{"exp_avg", "previous_grad"};
  static constexpr auto kScalars = mars::kScalars;

  struct Measure : mars::Measure<Values> {
    static constexpr std::array kState = MarsLion::kState;
  };

  template <class Step>
  SCALEVEC_HD static void advance(const Values&, const Step&, const double* sums, double* clip) {
    mars::advance(sums, clip);
  }

  template <class T>
  struct Constants {
    T lr, correction, clip, one_minus_beta1;
  };

  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step& s) {
    return {s.lr, mars::correction(o), *s.scalars, 1.0 - o.beta1};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& m, T& previous) {
    const T corrected = mars::corrected(c.correction, g, previous) * c.clip;
    previous = g;
    m += c.one_minus_beta1 * (corrected - m);
    return c.lr * rules::sign(m);
  }
};

}  // namespace scalevec::methods
