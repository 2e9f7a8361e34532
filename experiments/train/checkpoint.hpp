#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "scalevec/experiments/train/session.hpp"

// A checkpoint is a folder checkpoints/step-NNNNNNNN with weights.safetensors, optimizer.safetensors and state.json,
// written beside its final place, synced and renamed: one that is there is whole.
namespace scalevec {

// `optimizer_state` is the session's; `config` the resolved configuration; `progress` is what the trainer keeps besides
// the session; it comes back from restore_latest(). Then deletes all but the newest `keep`. Throws RunError.
void write_checkpoint(const std::filesystem::path& run, const Session& session, const NamedTensors& optimizer_state,
                      const nlohmann::json& config, const nlohmann::json& progress, std::int64_t keep);

// Restores the newest checkpoint that can be read, saying on stderr which were passed over, and returns its progress;
// null if there is none. Removes what an interrupted write left.
nlohmann::json restore_latest(const std::filesystem::path& run, Session& session);

}  // namespace scalevec
