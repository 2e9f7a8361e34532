#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace scalevec::experiments {

// What `scalevec data prepare` writes to data.json: how the tokens were made and what they are.
struct DataManifest {
  struct Source {
    std::string name;  // without its folder
    std::int64_t bytes = 0;
    std::string sha256;
  };
  struct Shard {
    std::string name;
    std::int64_t tokens = 0;
    std::string sha256;  // of the whole file
  };
  struct Split {
    std::int64_t blocks = 0;
    std::int64_t bytes = 0;  // of text; 0: not recorded, as in folders of older versions
    std::vector<Shard> shards;

    std::int64_t tokens() const;
  };

  std::string tokenizer;
  std::int64_t vocab_size = 0;
  std::int64_t block_bytes = 0;
  double val_fraction = 0.0;
  std::int64_t val_every = 0;  // every val_every-th block is validation data
  std::int64_t shard_tokens = 0;
  std::vector<Source> sources;
  Split train, val;
  std::string sha256;  // data_hash() of the shards
};

inline constexpr const char* kManifestName = "data.json";

std::string manifest_json(const DataManifest& manifest);

// Empty if `folder` has no data.json; UsageError if its checksum is wrong (one of version 0.1 has none), ConfigError
// naming the file and the key if it holds something else.
std::optional<DataManifest> read_manifest(const std::filesystem::path& folder);

}  // namespace scalevec::experiments
