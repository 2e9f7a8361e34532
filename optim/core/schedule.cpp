#include "optim/core/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <sstream>
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

std::string Schedule::error() const {
  const auto wrong = [](const char* key, auto value, const std::string& allowed) {
    std::ostringstream text;
    text << key << ": got " << value << "; allowed: " << allowed;
    return text.str();
  };
  const std::string total = "total_steps, " + std::to_string(total_steps);
  if (warmup_steps < 0) return wrong("warmup_steps", warmup_steps, "0 or more");
  if (!(final_factor >= 0.0 && final_factor <= 1.0)) return wrong("final_factor", final_factor, "0 to 1");
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

std::string_view to_string(Schedule::Shape shape) {
  switch (shape) {
    case Schedule::Shape::constant:
      return "constant";
    case Schedule::Shape::cosine:
      return "cosine";
    case Schedule::Shape::linear:
      return "linear";
    case Schedule::Shape::wsd:
      return "wsd";
  }
  return "?";
}

std::string_view to_string(Schedule::DecayShape shape) {
  switch (shape) {
    case Schedule::DecayShape::linear:
      return "linear";
    case Schedule::DecayShape::cosine:
      return "cosine";
    case Schedule::DecayShape::sqrt:
      return "sqrt";
  }
  return "?";
}

std::optional<Schedule::Shape> parse_schedule_shape(std::string_view word) {
  for (const auto s :
       {Schedule::Shape::constant, Schedule::Shape::cosine, Schedule::Shape::linear, Schedule::Shape::wsd})
    if (to_string(s) == word) return s;
  return std::nullopt;
}

std::optional<Schedule::DecayShape> parse_decay_shape(std::string_view word) {
  for (const auto s : {Schedule::DecayShape::linear, Schedule::DecayShape::cosine, Schedule::DecayShape::sqrt})
    if (to_string(s) == word) return s;
  return std::nullopt;
}

}  // namespace scalevec
