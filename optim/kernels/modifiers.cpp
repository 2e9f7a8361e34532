#include "optim/kernels/modifiers.hpp"

#include <cmath>

namespace scalevec::kernels {

StepScales scales_of(const Modifier& modifier, const ModifierSums& sums, std::int64_t count, double held_norm) {
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

}  // namespace scalevec::kernels
