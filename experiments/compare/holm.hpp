#pragma once

#include <span>
#include <vector>

namespace scalevec {

// What Holm's step-down procedure (Scandinavian Journal of Statistics 6, 1979) says of one hypothesis among several.
struct HolmResult {
  double adjusted_p = 1.0;
  // The level at which it was tested: α/(m − k + 1) for the k-th smallest p, and for every hypothesis after the first
  // that is not rejected that one's level. An interval at confidence 1 − level excludes 0 exactly where `rejected`
  // holds, if interval and p come from the same test.
  double level = 0.0;
  bool rejected = false;
};

// In the order of `p`. A NaN is a test that could not be made: it counts as p = 1, so that m is what was planned.
std::vector<HolmResult> holm(std::span<const double> p, double alpha = 0.05);

}  // namespace scalevec
