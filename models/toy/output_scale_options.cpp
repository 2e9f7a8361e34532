#include "scalevec/models/toy/output_scale_options.hpp"

#include <cmath>
#include <sstream>

namespace scalevec {
namespace {

template <class T>
std::string bad(const char* field, T value, const std::string& allowed) {
  std::ostringstream out;
  out << field << ": got " << value << "; allowed: " << allowed;
  return out.str();
}

}  // namespace

std::string OutputScaleOptions::error() const {
  if (replicas < 1 || replicas > (std::int64_t{1} << 30)) return bad("replicas", replicas, "an integer from 1 to 2^30");
  if (!std::isfinite(curvature) || curvature <= 0.0) return bad("curvature", curvature, "more than 0");
  if (!std::isfinite(target)) return bad("target", target, "a finite number");
  if (!std::isfinite(sigma) || sigma < 0.0) return bad("sigma", sigma, "at least 0");
  if (!std::isfinite(initial)) return bad("initial", initial, "a finite number");
  return {};
}

}  // namespace scalevec
