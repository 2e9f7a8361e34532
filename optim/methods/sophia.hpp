#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// The mean m of g over γ times the mean h of an estimate of the Hessian's diagonal, each element clipped to [−1, 1]
// (Algorithm 3). The estimate is Gauss-Newton-Bartlett's (Algorithm 2), B ĝ², ĝ the gradient of the mean loss over B
// labels drawn from the model's own predictions: Optimizer::update_hessian, every `hessian_every` steps. Where h is 0
// the element moves by η with the sign of m. State: 8 bytes per element, of float64 16.
struct Sophia {
  static constexpr const char* kName = "sophia";
  static constexpr const char* kSource = "Liu et al., arXiv 2305.14342";
  static constexpr MethodDefaults kDefaults{4e-4, 0.0, DecayCoupling::lr};

  SCALEVEC_OPTIONS((double, beta1, 0.96, kFraction, "decay of the mean of g; the paper"),
                   (double, beta2, 0.99, kFraction, "decay of the mean of the estimates; the paper"),
                   (double, gamma, 0.05, kNonnegative, "what h is multiplied by; the paper's for Sophia-G"),
                   (double, eps, 1e-12, kNonnegative, "least γh, 0/0 is no update; the paper"),
                   (std::int64_t, hessian_every, 10, at_least(1), "steps from estimate to estimate; the paper"))

  static constexpr std::array kState{"exp_avg", "hessian"};

  template <class T>
  struct Constants {
    T lr, one_minus_beta1, gamma, eps;
  };

  template <class Step>
  SCALEVEC_HD static constexpr Constants<double> constants(const Values& o, const Step& s) {
    return {s.lr, 1.0 - o.beta1, o.gamma, o.eps};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& m, T& h) {
    m += c.one_minus_beta1 * (g - m);
    const T ratio = m * rules::inverse_or_zero(rules::larger(c.gamma * h, c.eps));
    return c.lr * (ratio > T(1) ? T(1) : ratio < T(-1) ? T(-1) : ratio);
  }

  struct Curvature {
    using Values = Sophia::Values;
    static constexpr std::array kState = Sophia::kState;
    static constexpr bool kMoves = false;

    template <class T>
    struct Constants {
      T beta2, rate;  // rate: (1 − β₂)B
    };
    SCALEVEC_HD static constexpr Constants<double> constants(const Values& o, double samples) {
      return {o.beta2, (1.0 - o.beta2) * samples};
    }

    template <class T>
    SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T&, T& h) {
      h = c.beta2 * h + c.rate * g * g;
      return T(0);
    }
  };
};

}  // namespace scalevec::methods
