#pragma once

#include <filesystem>
#include <vector>

#include "scalevec/experiments/train/run_config.hpp"

namespace scalevec {

inline constexpr const char* kCheckpointPrefix = "step-";
// The checkpoint folders of a run, oldest first.
std::vector<std::filesystem::path> whole_checkpoints(const std::filesystem::path& run);

// Throws UsageError unless `out` can be used for the configured run: if it contains another configuration (by its
// config.json and by its newest checkpoint; the message names the first key that differs), files of a run without
// either, or a run and `resume` is false, or if it is not a folder.
void claim_folder(const RunConfig& config, const std::filesystem::path& out, bool resume);

}  // namespace scalevec
