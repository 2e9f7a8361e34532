#pragma once

#include <cmath>

#include "optim/core/host_device.hpp"

// What the update rules of optim/methods have in common.
namespace scalevec::rules {

// Common to every rule: g' = grad_factor·g + l2·(p − target), p ← p − shrink·(p − target) − step.
template <class T>
struct Decay {
  T grad_factor = T(1);  // clip factor
  T l2 = T(0);
  T shrink = T(0);
  T target = T(0);

  template <class U>
  SCALEVEC_HD constexpr Decay<U> as() const {
    return {U(grad_factor), U(l2), U(shrink), U(target)};
  }
};

template <class T>
SCALEVEC_HD constexpr T effective_grad(const Decay<T>& d, T p, T g) {
  return d.grad_factor * g + d.l2 * (p - d.target);
}

// A rule's result: the new value, which it converts to, and what was taken off the old one, of which p may show
// nothing.
template <class T>
struct SteppedValue {
  T value, by;

  SCALEVEC_HD constexpr operator T() const { return value; }
};

// p after its decay and a step. The two are added before they meet p, so that p, the largest of the three, rounds once.
template <class T>
SCALEVEC_HD constexpr SteppedValue<T> apply_step(const Decay<T>& d, T p, T step) {
  const T by = d.shrink * (p - d.target) + step;
  return {p - by, by};
}

// 1/x, and 0 for 0: an element without a second moment or an eps has had no gradient, and 0/0 is no update.
template <class T>
SCALEVEC_HD constexpr T inverse_or_zero(T x) {
  return x == T(0) ? T(0) : T(1) / x;
}

template <class T>
SCALEVEC_HD constexpr T larger(T a, T b) {
  return a > b ? a : b;
}

template <class T>
SCALEVEC_HD constexpr T sign(T x) {
  return static_cast<T>((x > T(0)) - (x < T(0)));
}

}  // namespace scalevec::rules
