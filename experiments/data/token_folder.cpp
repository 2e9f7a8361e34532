#include "scalevec/experiments/data/token_folder.hpp"

#include <algorithm>

#include "scalevec/experiments/data/sha256.hpp"
#include "scalevec/experiments/errors.hpp"

namespace scalevec {

namespace fs = std::filesystem;

ShardPaths find_shards(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error) throw UsageError(folder.string() + ": cannot read as a folder of tokens: " + error.message());
  ShardPaths shards;
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() != ".bin") continue;
    const bool train = name.find("train") != std::string::npos;
    const bool val = name.find("val") != std::string::npos;
    if (train && val) {
      throw UsageError(entry.path().string() + ": the name holds both train and val; allowed: one of them");
    }
    if (train) shards.train.push_back(entry.path());
    if (val) shards.val.push_back(entry.path());
  }
  std::sort(shards.train.begin(), shards.train.end());
  std::sort(shards.val.begin(), shards.val.end());
  return shards;
}

std::string data_hash(std::span<const std::string> train_hashes, std::span<const std::string> val_hashes) {
  std::string text;
  for (const std::string& hash : train_hashes) text += "train " + hash + "\n";
  for (const std::string& hash : val_hashes) text += "val " + hash + "\n";
  return sha256(text);
}

}  // namespace scalevec
