#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace scalevec::experiments {

// The resolved policy (policy.json) as text: a line per parameter, totals per group, the class of each scale vector
// with the reason, the policy in words, and the parts of the design that have no effect.
std::string plan_text(const nlohmann::json& policy);

}  // namespace scalevec::experiments
