#pragma once

#include <nlohmann/json.hpp>

#include "experiments/train/run_config.hpp"
#include "models/model.hpp"
#include "optim/role_policy.hpp"

namespace scalevec::experiments {

// policy.json of a run: a row per parameter with its norm as the model has it now, groups, the policy in words, and the
// scales with the maps that read them, the rows that read a column of theirs and the reason of their class.
nlohmann::json policy_json(const RunConfig& config);
nlohmann::json policy_json(const RunConfig& config, const models::Model& model, const RolePolicy& policy,
                           const std::vector<PolicyRow>& rows);

// What a run starts from, for its record: path, hash, step, and what became of the scales. Null: from drawn values.
struct StartReport;
nlohmann::json start_json(const RunConfig& config, const StartReport& report);

}  // namespace scalevec::experiments
