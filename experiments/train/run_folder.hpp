#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/train/run_config.hpp"

namespace scalevec::experiments {

// What a resumed run has otherwise than before it was stopped, by its path: "log.every" of the configuration.
struct ChangedKey {
  std::string key;
  nlohmann::json before, now;
};

// Every key path where two objects differ.
std::vector<ChangedKey> changed_keys(const nlohmann::json& before, const nlohmann::json& now);

// Refuses a folder that is not the configured run's: UsageError if `out` holds another configuration (by its
// config.json and by its newest checkpoint; with the first key where they differ), files of a run without either, a run
// at all and `resume` is not set, or is no folder. Keys that cannot change what is trained may differ and are returned:
// log.every, log.traces_every, log.formats, checkpoint.*, name, and data.dir, for the trainer to compare the data
// itself.
std::vector<ChangedKey> claim_folder(const RunConfig& config, const std::filesystem::path& out, bool resume);

}  // namespace scalevec::experiments
