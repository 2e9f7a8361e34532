#include "optim/core/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

namespace scalevec {

double Schedule::factor(std::int64_t step) const {
  if (step < warmup_steps) return static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  if (shape == Shape::constant) return 1.0;
  // The first step below the peak. Without warm-up the first step of cosine and linear has the peak.
  const std::int64_t start =
      shape == Shape::wsd ? std::max(warmup_steps, total_steps - decay_steps) : std::max<std::int64_t>(warmup_steps, 1);
  if (step < start || start >= total_steps) return 1.0;
  const double x = std::min(1.0, static_cast<double>(step - start + 1) / static_cast<double>(total_steps - start));
  double remaining = 1.0 - x;
  const bool cosine = shape == Shape::cosine || (shape == Shape::wsd && decay_shape == DecayShape::cosine);
  if (cosine) remaining = 0.5 * (1.0 + std::cos(std::numbers::pi * x));
  if (shape == Shape::wsd && decay_shape == DecayShape::sqrt) remaining = 1.0 - std::sqrt(x);
  return final_factor + (1.0 - final_factor) * remaining;
}

Options Schedule::fields() {
  // So that no sum of them overflows 64 bits.
  const Range count = Range::between(0, 1e12), positive = Range::between(1, 1e12);
  return {{"shape", enum_value(&shape), {}, {"constant", "cosine", "linear", "wsd"}, "wsd: warm-up, stable, decay"},
          {"warmup_steps", &warmup_steps, count, {}, "W, steps in which the learning rate rises linearly"},
          {"total_steps",
           &total_steps,
           positive,
           {},
           "T, the number of steps after which the decay ends; at least steps, except for constant",
           false,
           true,
           "steps"},
          {"final_factor", &final_factor, Range::between(0, 1), {}, "f, last learning rate over the largest"},
          {"decay_steps", &decay_steps, count, {}, "D, length of the decay of wsd"},
          {"decay_shape", enum_value(&decay_shape), {}, {"linear", "cosine", "sqrt"}, "shape of the decay of wsd"}};
}

std::string Schedule::error() const {
  const std::string total = "total_steps, " + std::to_string(total_steps);
  const auto wrong = [](const char* key, std::int64_t value, const std::string& allowed) {
    return not_allowed(key, std::to_string(value), allowed);
  };
  if (warmup_steps < 0) return wrong("warmup_steps", warmup_steps, "0 or more");
  if (!(final_factor >= 0.0 && final_factor <= 1.0)) return not_allowed("final_factor", final_factor, "0 to 1");
  if (shape == Shape::constant) return {};
  if (total_steps <= 0) return wrong("total_steps", total_steps, "1 or more");
  if (warmup_steps > total_steps) return wrong("warmup_steps", warmup_steps, "at most " + total);
  if (shape == Shape::wsd && decay_steps <= 0) return wrong("decay_steps", decay_steps, "1 or more where shape is wsd");
  if (shape == Shape::wsd && warmup_steps + decay_steps > total_steps)
    return wrong("decay_steps", decay_steps,
                 "at most " + std::to_string(total_steps - warmup_steps) + ", which warmup_steps, " +
                     std::to_string(warmup_steps) + ", leaves of " + total);
  return {};
}

}  // namespace scalevec
