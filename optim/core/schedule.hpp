#pragma once

#include <cstdint>
#include <string>

#include "optim/core/option.hpp"

namespace scalevec {

// The learning-rate factor as a pure function of the step: no state, nothing to checkpoint.
struct Schedule {
  enum class Shape { constant, cosine, linear, wsd };
  enum class DecayShape { linear, cosine, sqrt };

  Shape shape = Shape::constant;
  std::int64_t warmup_steps = 0;  // factor (t+1)/warmup_steps while t < warmup_steps
  std::int64_t total_steps = 0;   // the factor reaches final_factor at step total_steps − 1; unused by `constant`
  double final_factor = 0.0;      // ratio of the last lr to the peak lr, in [0, 1]
  std::int64_t decay_steps = 0;   // wsd: the last steps, all below the peak
  DecayShape decay_shape = DecayShape::linear;  // wsd: linear, cosine, or 1 − √x (arXiv 2405.18392)

  // The factor of step t ≥ 0 (the first step is 0). During warm-up (t+1)/W, so that step W − 1 has the peak. Then with
  // s the first step of the decay (W, at least 1; for wsd T − decay_steps), T the total_steps, f the final_factor and
  // x = (t − s + 1)/(T − s), at most 1: cosine f + (1−f)(1+cos πx)/2, linear 1 − (1−f)x, wsd 1 until s and then its
  // decay shape. Step T − 1 has f; where no step is left for a decay (s ≥ T) the factor stays 1.
  double factor(std::int64_t step) const;

  // As data, with the names that configurations use.
  Options fields();

  // Why these values mean nothing, naming the field; empty if they are sound.
  std::string error() const;

  bool operator==(const Schedule&) const = default;
};

}  // namespace scalevec
