#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "experiments/train/session.hpp"

// A checkpoint is a folder checkpoints/step-NNNNNNNN with weights.safetensors, optimizer.safetensors, state.json and,
// where the optimizer trains at other weights than those that are validated, the latter in average.safetensors. It is
// written under a temporary name, synced and renamed, so a checkpoint that exists is complete.
namespace scalevec::experiments {

// Writes a checkpoint and then deletes all but the newest `keep`. `average` and `optimizer_state` are the session's,
// `config` the resolved configuration, and `progress` the state of the trainer besides the session, which
// restore_latest() returns. Throws RunError.
void write_checkpoint(const std::filesystem::path& run, const Session& session, const models::NamedTensors& average,
                      const models::NamedTensors& optimizer_state, const nlohmann::json& config,
                      const nlohmann::json& progress, std::int64_t keep);

// Restores the newest checkpoint that can be read and returns its progress; null if there is none. Checkpoints that
// cannot be read are named on stderr. Removes the files of an interrupted write.
nlohmann::json restore_latest(const std::filesystem::path& run, Session& session);

}  // namespace scalevec::experiments
