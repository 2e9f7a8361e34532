#pragma once

#include <filesystem>
#include <vector>

#include "scalevec/experiments/train/run_config.hpp"

namespace scalevec {

inline constexpr const char* kCheckpointPrefix = "step-";
// The checkpoint folders of a run, oldest first.
std::vector<std::filesystem::path> whole_checkpoints(const std::filesystem::path& run);

// Refuses a folder that is not the configured run's: UsageError if `out` holds another configuration (by its
// config.json and by its newest checkpoint; with the first key where they differ), files of a run without either, a run
// at all and `resume` is not set, or is no folder.
void claim_folder(const RunConfig& config, const std::filesystem::path& out, bool resume);

}  // namespace scalevec
