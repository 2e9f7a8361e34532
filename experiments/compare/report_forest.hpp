#pragma once

#include <string>

#include "experiments/compare/analysis.hpp"

namespace scalevec::experiments {

// The answer of a comparison as a picture: each variant's difference to the baseline, best on top, with its 95 %
// interval and the one at Holm's level. Empty where no variant has a difference.
std::string forest_figure(const Analysis& analysis);

}  // namespace scalevec::experiments
