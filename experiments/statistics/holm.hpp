#pragma once

#include <span>
#include <vector>

namespace scalevec::experiments {

// The result of Holm's step-down procedure (Scandinavian Journal of Statistics 6, 1979) for one hypothesis among
// several.
struct HolmResult {
  double adjusted_p = 1.0;
  // The level at which the hypothesis was tested: α/(m − k + 1) for the k-th smallest of m p-values. Every hypothesis
  // after the first that is not rejected has the level of that one. An interval at confidence 1 − level excludes 0 if
  // and only if `rejected` is true, provided that interval and p-value come from the same test.
  double level = 0.0;
  bool rejected = false;
};

// The results in the order of `p`. NaN stands for a test that could not be made. It counts as p = 1, so that m stays
// the planned number of tests.
std::vector<HolmResult> holm(std::span<const double> p, double alpha = 0.05);

}  // namespace scalevec::experiments
