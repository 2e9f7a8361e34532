#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace scalevec::experiments {

// What theory says of a planned run (T5, T11, T12), from its resolved configuration and its policy: {"groups":
// [{"group", "rule", "relaxation_steps" (null without decay), "steps", "rotation": {"start", "middle", "end"},
// "out_of_equilibrium", "before_norm"}], "warnings": [text]}, a row per group of matrices that T11 or T12 knows,
// rotation and share the means over its tensors weighted by their elements. Applied by nobody.
nlohmann::json plan_advice(const nlohmann::json& config, const nlohmann::json& policy);

// The same as text, empty where there is nothing to say.
std::string advice_text(const nlohmann::json& advice);

}  // namespace scalevec::experiments
