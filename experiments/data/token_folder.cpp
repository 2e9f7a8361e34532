#include "experiments/data/token_folder.hpp"

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <string_view>

#include "experiments/errors.hpp"
#include "experiments/system/sha256.hpp"

namespace scalevec::experiments {

namespace fs = std::filesystem;

namespace {

bool has_word(const std::string& name, std::initializer_list<std::string_view> words) {
  const auto alphanumeric = [](unsigned char c) { return std::isalnum(c) != 0; };
  for (auto at = name.begin(); at != name.end();) {
    const auto end = std::find_if_not(at, name.end(), alphanumeric);
    std::string word(at, end);
    word.erase(word.find_last_not_of("0123456789") + 1);
    if (std::find(words.begin(), words.end(), word) != words.end()) return true;
    at = std::find_if(end, name.end(), alphanumeric);
  }
  return false;
}

}  // namespace

ShardPaths find_shards(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error) throw UsageError(folder.string() + ": cannot read as a folder of tokens: " + error.message());
  ShardPaths shards;
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() != ".bin") continue;
    const bool train = has_word(name, {"train", "training"});
    const bool val = has_word(name, {"val", "valid", "validation"});
    if (train && val) {
      throw UsageError(entry.path().string() + ": the name holds both train and val as words; allowed: one of them");
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

}  // namespace scalevec::experiments
