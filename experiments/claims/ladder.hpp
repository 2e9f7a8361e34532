#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace scalevec::experiments {

struct ContrastResult;

// The mean of values[i] over the indices i in `chosen`.
double mean_over(const std::vector<double>& values, std::span<const size_t> chosen);

// Fits both scaling laws to the sizes of a ladder (r.better and r.worse, losses per seed) and sets the gain: the
// compute at which the baseline's law reaches the loss of the variant at the largest budget, divided by that budget,
// minus 1. If the variant is worse, it is computed with the roles exchanged and inverted, so that nothing outside the
// measured budgets is used. Intervals are by bootstrap over seeds.
void fit_ladder(ContrastResult& r, std::int64_t seeds);

}  // namespace scalevec::experiments
