#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/record/overrides.hpp"
#include "experiments/train/run_config.hpp"

namespace scalevec::experiments {

// Refuses a folder that is not the configured run's: UsageError if `out` holds another configuration (by its
// config.json and by its newest checkpoint; with the first key where they differ), files of a run without either, a run
// at all and `resume` is not set, or is no folder. Keys that cannot change what is trained may differ and are returned:
// log.every, log.traces_every, log.formats, checkpoint.*, name, and data.dir, for the trainer to compare the data
// itself.
std::vector<ChangedKey> claim_folder(const RunConfig& config, const std::filesystem::path& out, bool resume);

}  // namespace scalevec::experiments
