#pragma once

#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "theory/holds.hpp"

namespace scalevec::theory::domain {

// Throws std::domain_error "NAME: got VALUE; allowed: …".
inline void require(bool sound, const char* name, double value, const char* allowed) {
  if (sound) return;
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  throw std::domain_error(std::string(name) + ": got " + text + "; allowed: " + allowed);
}
inline void finite(const char* name, double x) { require(std::isfinite(x), name, x, "a finite number"); }
inline void positive(const char* name, double x) { require(std::isfinite(x) && x > 0.0, name, x, "more than 0"); }
inline void not_negative(const char* name, double x) { require(std::isfinite(x) && x >= 0.0, name, x, "at least 0"); }
inline void fraction(const char* name, double x) { require(x >= 0.0 && x < 1.0, name, x, "[0, 1)"); }

// A condition of Holds: `value` is at most `most`. What comes first that is not met is kept.
inline void at_most(Holds& holds, const char* what, double value, double most) {
  if (!holds.yes || value <= most) return;
  char text[200];
  std::snprintf(text, sizeof text, "%s is %.3g, needs at most %.3g", what, value, most);
  holds = {false, text};
}
inline void at_least(Holds& holds, const char* what, double value, double least) {
  if (!holds.yes || value >= least) return;
  char text[200];
  std::snprintf(text, sizeof text, "%s is %.3g, needs at least %.3g", what, value, least);
  holds = {false, text};
}

// ‖v‖ whatever its size.
inline double length_of(const std::vector<double>& v) {
  double length = 0.0;
  for (const double x : v) length = std::hypot(length, x);
  return length;
}

}  // namespace scalevec::theory::domain
