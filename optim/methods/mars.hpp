#pragma once

#include "optim/methods/method.hpp"

// What the methods on MARS's variance-reduced gradient (Yuan et al., arXiv 2411.10438) have in common:
// c = g + γ β₁/(1 − β₁) (g − g₋), g₋ the last step's gradient, divided by its norm over the tensor where that is
// above 1.
namespace scalevec::methods::mars {

inline constexpr std::array kScalars{"clip"};  // 1/max(1, ‖c‖)

// Of Values with gamma and beta1.
template <class Values>
SCALEVEC_HD constexpr double correction(const Values& o) {
  return o.gamma * o.beta1 / (1.0 - o.beta1);
}

template <class T>
SCALEVEC_HD T corrected(T correction, T g, T previous) {
  return g + correction * (g - previous);
}

// The pass that sums c², of a method whose last buffer is g₋.
template <class OfMethod>
struct Measure {
  using Values = OfMethod;
  static constexpr bool kMoves = false;

  template <class T>
  struct Constants {
    T correction;
  };
  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step&) {
    return {correction(o)};
  }
  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T&, T& previous) {
    const T value = corrected(c.correction, g, previous);
    return value * value;
  }
  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T p, T g, T& m, T&, T& previous) {
    return update(c, p, g, m, previous);
  }
};

SCALEVEC_HD void advance(const double* sums, double* clip) { *clip = sums[0] > 1.0 ? 1.0 / std::sqrt(sums[0]) : 1.0; }

}  // namespace scalevec::methods::mars
