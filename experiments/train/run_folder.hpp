#pragma once

#include <filesystem>

#include "scalevec/experiments/train/run_config.hpp"

namespace scalevec {

// Refuses a folder that is not the configured run's: UsageError if `out` holds another configuration (with the first
// key where they differ), or a run at all and `resume` is not set, or is no folder.
void claim_folder(const RunConfig& config, const std::filesystem::path& out, bool resume);

}  // namespace scalevec
