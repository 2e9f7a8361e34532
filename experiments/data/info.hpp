#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "experiments/data/manifest.hpp"
#include "experiments/data/token_file.hpp"

namespace scalevec::experiments {

struct DataInfo {
  struct Split {
    std::string name;  // "train", "val"; "file" for a single file
    std::int64_t files = 0;
    std::int64_t tokens = 0;     // over the files without errors
    std::optional<IdRange> ids;  // likewise
  };
  std::vector<Split> splits;
  std::string sha256;  // data_hash() of the folder, or SHA-256 of the file; empty if there are errors
  std::optional<DataManifest> manifest;
  std::vector<std::string> errors;  // one line, with the file, per damaged shard or difference to data.json

  std::int64_t vocab_size_needed() const;  // largest id + 1
};

// Checks and describes a folder of token shards, made by this or another program, or one .bin file. Reads every token.
// Throws UsageError if there is nothing to describe.
DataInfo inspect_data(const std::filesystem::path& folder_or_file);

}  // namespace scalevec::experiments
