#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace scalevec {

// The resolved policy (policy.json) as text: a line per parameter, totals per group, each scale vector's class
// and why it has that, the policy in words, and what of the design is inert.
std::string plan_text(const nlohmann::json& policy);

}  // namespace scalevec
