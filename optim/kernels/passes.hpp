#pragma once

#include "optim/methods/method.hpp"

// Passes over elements that are no method's step, in the form of elementwise methods (method_traits.hpp): the two of a
// matrix method, and those of the gradients' statistics.
namespace scalevec::kernels {

// m ← μm + (1 − μ)g and the mean that the update is formed from, u = (1 − mix)g + mix·m (mix = μ is Nesterov's, 1 the
// momentum, 0 the gradient). p stays.
struct MomentumPass {
  static constexpr std::array kState{"momentum", "mean"};
  static constexpr bool kMoves = false;
  struct Values {};

  template <class T>
  struct Constants {
    T one_minus_momentum, mix;
  };

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& m, T& u) {
    m += c.one_minus_momentum * (g - m);
    // Exact at both ends.
    u = c.mix < T(0.5) ? g + c.mix * (m - g) : m - (T(1) - c.mix) * (m - g);
    return T(0);
  }
};

// u = a·g + b·p: the gradient (a = 1, b = 0) or the parameter (0, 1) in the state's type. p stays.
struct ReadPass {
  static constexpr std::array kState{"read"};
  static constexpr bool kMoves = false;
  struct Values {};

  template <class T>
  struct Constants {
    T gradient, param;
  };

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T p, T g, T& u) {
    u = c.gradient * g + c.param * p;
    return T(0);
  }
};

// p ← p − shrink·(p − target) − scale·u. The gradient enters the sums only.
struct ApplyPass {
  static constexpr std::array kState{"update"};
  struct Values {};

  template <class T>
  struct Constants {
    T scale;
  };

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T, T& u) {
    return c.scale * u;
  }
};

// The mean of the gradients and Σ (g − mean)² over those seen since both were zero (Welford), the n-th of which is g:
// weight = 1/n. p stays and is not looked at.
struct MomentsPass {
  static constexpr std::array kState{"mean", "squares"};
  static constexpr bool kMoves = false;
  struct Values {};

  template <class T>
  struct Constants {
    T weight;
  };

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& mean, T& squares) {
    const T off = g - mean;
    mean += c.weight * off;
    squares += (T(1) - c.weight) * (off * off);
    return T(0);
  }
};

// Of those two the sums over the elements that vary of mean²/variance, and of 1; factor = 1/(n − 1).
struct SignalPass {
  static constexpr std::array kState{"mean", "squares"};
  static constexpr bool kMoves = false;
  static constexpr bool kAdaptive = true;
  struct Values {};

  template <class T>
  struct Constants {
    T factor;
  };

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T, T& mean, T& squares, T& varies) {
    const T variance = c.factor * squares;
    varies = variance > T(0) ? T(1) : T(0);
    return variance > T(0) ? mean * mean / variance : T(0);
  }
};

}  // namespace scalevec::kernels
