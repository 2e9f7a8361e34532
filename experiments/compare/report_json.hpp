#pragma once

#include <nlohmann/json.hpp>

#include "experiments/compare/analysis.hpp"

namespace scalevec::experiments {

// All numbers in the report of a comparison. A number that is not finite is null.
nlohmann::json report_json(const Comparison& comparison, const Analysis& analysis);

}  // namespace scalevec::experiments
