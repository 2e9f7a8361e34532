#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace scalevec {

// The resolved policy (policy.json) as text: a line per parameter, totals per group, the policy in words.
std::string plan_text(const nlohmann::json& policy);

}  // namespace scalevec
