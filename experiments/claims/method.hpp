#pragma once

#include <nlohmann/json.hpp>

#include "experiments/claims/claim.hpp"

namespace scalevec::experiments {

// How the ledger of a tier is judged, in sentences with its numbers: "method" in claims.json. `family`: the number of
// hypotheses, `error`: the error rate of each (0.05/family).
nlohmann::json ledger_method(const Tier& tier, std::int64_t family, double error);

// The same of the tier of the turns (times.hpp).
nlohmann::json times_method(const Tier& tier, std::int64_t family);

}  // namespace scalevec::experiments
