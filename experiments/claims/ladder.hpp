#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace scalevec {

struct ContrastResult;

double mean_over(const std::vector<double>& values, std::span<const size_t> chosen);

// Of a ladder's sizes (r.better and r.worse, losses per seed): both scaling laws, and as the gain the compute at which
// the baseline's law reaches the variant's loss at the largest budget, over that budget, minus 1; where the variant is
// worse the inverse, so that nothing outside the measured budgets is used. Intervals by bootstrap over seeds.
void fit_ladder(ContrastResult& r, std::int64_t seeds);

}  // namespace scalevec
