#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace scalevec::experiments {

// The shards of a folder, each list sorted by name: train_000000.bin, fineweb_val_000000.bin, …
struct ShardPaths {
  std::vector<std::filesystem::path> train, val;
};

// Every *.bin whose name has the word train or val; other files are passed over. Words are what letters other than
// alphanumeric ones separate, without digits at their end; "training", "valid" and "validation" count too. UsageError
// if `folder` is not a readable folder or a name has both words.
ShardPaths find_shards(const std::filesystem::path& folder);

// One hash for a whole data set, from the SHA-256 of its shards in order. It does not depend on the names of the
// shards.
std::string data_hash(std::span<const std::string> train_hashes, std::span<const std::string> val_hashes);

}  // namespace scalevec::experiments
