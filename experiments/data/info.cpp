#include "experiments/data/info.hpp"

#include <algorithm>

#include "experiments/data/token_folder.hpp"
#include "experiments/errors.hpp"
#include "experiments/system/sha256.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;

// Adds a split of `files` to `info` and returns the hashes of the sound ones.
std::vector<std::string> add_split(DataInfo& info, const std::string& name, const std::vector<fs::path>& files) {
  DataInfo::Split split{name, static_cast<std::int64_t>(files.size()), 0, std::nullopt};
  std::vector<std::string> hashes;
  for (const fs::path& file : files) {
    try {
      const TokenFile shard(file);
      split.tokens += shard.size();
      if (const auto range = shard.id_range()) {
        split.ids =
            split.ids ? IdRange{std::min(split.ids->low, range->low), std::max(split.ids->high, range->high)} : range;
      }
      hashes.push_back(sha256_file(file));
    } catch (const UsageError& error) {
      info.errors.push_back(error.what());
    }
  }
  info.splits.push_back(split);
  return hashes;
}

// What of a folder whose shards are sound departs from its data.json.
void compare_to_manifest(DataInfo& info, const fs::path& folder, const std::vector<fs::path>& files,
                         const std::vector<std::string>& hashes, const DataManifest::Split& recorded) {
  for (const auto& shard : recorded.shards) {
    const auto at = std::find(files.begin(), files.end(), folder / shard.name);
    if (at == files.end()) {
      info.errors.push_back((folder / shard.name).string() + ": in data.json but missing");
    } else if (hashes[at - files.begin()] != shard.sha256) {
      info.errors.push_back(at->string() + ": its SHA-256 is not the one in data.json");
    }
  }
  for (const fs::path& file : files) {
    const bool known = std::any_of(recorded.shards.begin(), recorded.shards.end(),
                                   [&](const auto& shard) { return folder / shard.name == file; });
    if (!known) info.errors.push_back(file.string() + ": not in data.json");
  }
}

}  // namespace

std::int64_t DataInfo::vocab_size_needed() const {
  std::int64_t high = -1;
  for (const Split& split : splits) high = std::max(high, split.ids ? split.ids->high : std::int64_t{-1});
  return high + 1;
}

DataInfo inspect_data(const fs::path& path) {
  DataInfo info;
  if (!fs::is_directory(path)) {
    const auto hashes = add_split(info, "file", {path});
    if (!info.errors.empty()) throw UsageError(info.errors.front());
    info.sha256 = hashes.front();
    return info;
  }
  const ShardPaths shards = find_shards(path);
  if (shards.train.empty() && shards.val.empty()) {
    throw UsageError(path.string() + ": no token shards; allowed: *train*.bin and *val*.bin");
  }
  const auto train = add_split(info, "train", shards.train);
  const auto val = add_split(info, "val", shards.val);
  info.manifest = read_manifest(path);
  if (!info.errors.empty()) return info;
  info.sha256 = data_hash(train, val);
  if (!info.manifest) return info;
  compare_to_manifest(info, path, shards.train, train, info.manifest->train);
  compare_to_manifest(info, path, shards.val, val, info.manifest->val);
  if (info.vocab_size_needed() > info.manifest->vocab_size) {
    info.errors.push_back(path.string() + ": token id " + std::to_string(info.vocab_size_needed() - 1) +
                          "; allowed by data.json: 0 to " + std::to_string(info.manifest->vocab_size - 1));
  }
  return info;
}

}  // namespace scalevec::experiments
