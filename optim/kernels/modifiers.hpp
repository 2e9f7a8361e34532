#pragma once

#include <cstdint>

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

  bool needs_sums() const { return cautious || size != StepSize::own; }
};

// Over a block of a tensor, u and q as the switches above leave them.
struct ModifierSums {
  double agreeing = 0.0;  // the number of elements whose u has the gradient's sign
  double update_sq = 0.0, update_decay = 0.0, decay_sq = 0.0, param_sq = 0.0, param_update = 0.0;

  ModifierSums& operator+=(const ModifierSums& s) {
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

// Those of a block of `count` elements, whose norm to hold is `held_norm`.
StepScales scales_of(const Modifier& modifier, const ModifierSums& sums, std::int64_t count, double held_norm);

}  // namespace scalevec::kernels
