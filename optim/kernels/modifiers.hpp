#pragma once

#include <cmath>
#include <cstdint>

#include "optim/core/update_rules.hpp"

// What is done to the step of any method before it is taken. With u what the method would subtract from p without its
// decay, and q = shrink·(p − target) the decay, the step taken is p ← p − (value·p + update·u + decay·q), whose three
// factors, the same for all elements of a tensor, come from sums over it: see StepScales.
namespace scalevec::kernels {

// What sets the size of the step.
enum class StepSize : std::uint8_t { own, update_rms, trust_ratio, hold_norm };

struct Modifier {
  bool cautious = false;        // u is 0 where its sign is not the gradient's
  bool cautious_decay = false;  // q is 0 where u leads away from the target
  StepSize size = StepSize::own;
  double lr = 0.0;            // η of the step
  double rms = 0.0;           // of StepSize::update_rms: the update's root mean square over η
  std::int64_t blocks = 1;    // equal parts of the tensor, in its order, with sums of their own
  void* held_norm = nullptr;  // of StepSize::hold_norm: a number for each block, in the state's type; 0: not noted yet

  SCALEVEC_HD constexpr bool needs_sums() const { return cautious || size != StepSize::own; }
};

// Over a block of a tensor, u and q as the switches above leave them.
struct ModifierSums {
  double agreeing = 0.0;  // the number of elements whose u has the gradient's sign
  double update_sq = 0.0, update_decay = 0.0, decay_sq = 0.0, param_sq = 0.0, param_update = 0.0;

  SCALEVEC_HD constexpr ModifierSums& operator+=(const ModifierSums& s) {
    agreeing += s.agreeing;
    update_sq += s.update_sq;
    update_decay += s.update_decay;
    decay_sq += s.decay_sq;
    param_sq += s.param_sq;
    param_update += s.param_update;
    return *this;
  }
};

struct StepScales {
  double value = 0.0, update = 1.0, decay = 1.0;
};

// An element's update and decay as the modifier's switches leave them.
template <class T>
struct Switched {
  T update, decay;
  bool agrees;
};
template <class T>
SCALEVEC_HD Switched<T> switched(const rules::Decay<T>& decay, bool cautious, bool cautious_decay, T p, T g, T u) {
  const T grad = rules::effective_grad(decay, p, g), from = p - decay.target;
  const bool agrees = ((u > T(0)) & (grad > T(0))) | ((u < T(0)) & (grad < T(0)));
  const T update = cautious & !agrees ? T(0) : u;
  const bool away = ((update > T(0)) & (from < T(0))) | ((update < T(0)) & (from > T(0)));
  return {update, cautious_decay & away ? T(0) : decay.shrink * from, agrees};
}

// The scales of a block of `count` elements, whose norm to hold is `held_norm`.
SCALEVEC_HD StepScales scales_of(const Modifier& modifier, const ModifierSums& sums, std::int64_t count,
                                 double held_norm) {
  StepScales out;
  const double n = static_cast<double>(count);
  if (modifier.cautious) out.update = n / (sums.agreeing + 1.0);
  switch (modifier.size) {
    case StepSize::own:
      break;
    case StepSize::update_rms:
      out.update = sums.update_sq > 0.0 ? modifier.lr * modifier.rms * std::sqrt(n / sums.update_sq) : 0.0;
      break;
    case StepSize::trust_ratio: {
      const double change =
          out.update * out.update * sums.update_sq + 2.0 * out.update * sums.update_decay + sums.decay_sq;
      if (!(change > 0.0 && sums.param_sq > 0.0)) break;
      const double ratio = modifier.lr * std::sqrt(sums.param_sq / change);
      out.update *= ratio;
      out.decay = ratio;
      break;
    }
    case StepSize::hold_norm: {
      const double length = sums.update_sq > 0.0 ? modifier.lr * held_norm / std::sqrt(sums.update_sq) : 0.0;
      const double square = sums.param_sq - 2.0 * length * sums.param_update + length * length * sums.update_sq;
      const double back = square > 0.0 ? held_norm / std::sqrt(square) : 1.0;
      out.value = 1.0 - back;
      out.update = back * length;
      break;
    }
  }
  return out;
}

// The scales of block number `at` of the modifier's tensor, in which a norm to hold is noted when it is first met. T is
// the state's type.
template <class T>
SCALEVEC_HD StepScales noted_scales_of(const Modifier& modifier, const ModifierSums& sums, std::int64_t count,
                                       std::int64_t at) {
  if (!modifier.held_norm) return scales_of(modifier, sums, count, 0.0);
  T& held = static_cast<T*>(modifier.held_norm)[at];
  if (held == T(0)) held = static_cast<T>(std::sqrt(sums.param_sq));
  return scales_of(modifier, sums, count, static_cast<double>(held));
}

}  // namespace scalevec::kernels
