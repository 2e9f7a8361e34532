#pragma once

#include <nlohmann/json.hpp>

#include "scalevec/experiments/compare/analysis.hpp"

namespace scalevec {

// Every number of a comparison's report; what is not finite is null.
nlohmann::json report_json(const Comparison& comparison, const Analysis& analysis);

}  // namespace scalevec
