#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "scalevec/experiments/data/manifest.hpp"
#include "scalevec/experiments/data/token_file.hpp"

namespace scalevec {

struct DataInfo {
  struct Split {
    std::string name;  // "train", "val"; "file" for a single file
    std::int64_t files = 0;
    std::int64_t tokens = 0;     // over the sound files
    std::optional<IdRange> ids;  // likewise
  };
  std::vector<Split> splits;
  std::string sha256;  // data_hash() of a sound folder, or a sound file's SHA-256; else empty
  std::optional<DataManifest> manifest;
  std::vector<std::string> errors;  // one line per damaged shard or departure from data.json, naming the file

  std::int64_t vocab_size_needed() const;  // largest id + 1
};

// Checks and describes a folder of token shards, made by us or others, or one .bin; reads every token. UsageError if
// there is nothing to describe.
DataInfo inspect_data(const std::filesystem::path& folder_or_file);

}  // namespace scalevec
