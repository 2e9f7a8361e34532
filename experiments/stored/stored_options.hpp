#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/decoder_options.hpp"

namespace scalevec::experiments {

// What a run that starts from a stored model must know before it opens it.
struct StoredOptions {
  models::DecoderOptions options;  // resolved
  std::string sha256;      // of its weights: of the file, or of the hashes of shards in the order of their names
  std::int64_t step = -1;  // of a run's checkpoint; -1: none
  std::string checkpoint;  // its folder; empty: none
};

// Of a path as open_stored() takes it. Hashes are kept for the life of the process. UsageError or ConfigError name the
// file and what is wrong with it.
StoredOptions stored_options(const std::string& path, const std::vector<std::string>& ignore = {});

}  // namespace scalevec::experiments
