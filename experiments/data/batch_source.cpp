#include "experiments/data/batch_source.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "experiments/data/manifest.hpp"
#include "experiments/data/permutation.hpp"
#include "experiments/data/token_folder.hpp"
#include "experiments/errors.hpp"
#include "experiments/system/sha256.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kOrderStream = stream_of("data.order");
constexpr std::uint64_t kValidationStream = stream_of("data.validation");

std::int64_t windows_of(const TokenFile& shard, std::int64_t seq_len) {
  return shard.size() > 0 ? (shard.size() - 1) / seq_len : 0;
}

std::int64_t total_tokens(const std::vector<TokenFile>& split) {
  std::int64_t sum = 0;
  for (const TokenFile& shard : split) sum += shard.size();
  return sum;
}

void copy_window(const std::vector<TokenFile>& split, std::int64_t window, std::int64_t seq_len, std::int64_t* out) {
  auto shard = split.begin();
  for (; window >= windows_of(*shard, seq_len); ++shard) window -= windows_of(*shard, seq_len);
  shard->copy(window * seq_len, seq_len + 1, out);
}

std::vector<TokenFile> open_all(const std::vector<fs::path>& files) {
  std::vector<TokenFile> shards;
  for (const fs::path& file : files) shards.emplace_back(file);
  return shards;
}

std::vector<std::string> hash_all(const std::vector<TokenFile>& shards) {
  std::vector<std::string> hashes;
  for (const TokenFile& shard : shards) hashes.push_back(sha256(shard.bytes()));
  return hashes;
}

ShardPaths recorded_shards(const fs::path& folder, const DataManifest& manifest) {
  ShardPaths paths;
  for (const auto& shard : manifest.train.shards) paths.train.push_back(folder / shard.name);
  for (const auto& shard : manifest.val.shards) paths.val.push_back(folder / shard.name);
  return paths;
}

// Their hashes, which must be the recorded ones.
std::vector<std::string> checked_hashes(const std::vector<TokenFile>& shards, const DataManifest::Split& recorded) {
  std::vector<std::string> hashes = hash_all(shards);
  for (std::size_t i = 0; i < shards.size(); ++i)
    if (hashes[i] != recorded.shards[i].sha256)
      throw UsageError(shards[i].path().string() +
                       ": its SHA-256 is not the one in data.json: it was damaged or changed after it was prepared; "
                       "allowed: the file as it was, or the folder without its data.json, which is read unchecked");
  return hashes;
}

}  // namespace

TokenFolderSource::TokenFolderSource(const fs::path& folder, std::uint64_t data_seed)
    : folder_(folder), data_seed_(data_seed) {
  const auto manifest = read_manifest(folder);
  const ShardPaths shards = manifest ? recorded_shards(folder, *manifest) : find_shards(folder);
  for (const auto& [files, name] : {std::pair(&shards.train, "train"), std::pair(&shards.val, "val")}) {
    if (files->empty()) {
      throw UsageError(folder.string() + ": no *" + name +
                       "*.bin; allowed: a folder with at least one train and one val shard, as " +
                       "`scalevec data prepare` writes it");
    }
  }
  train_ = open_all(shards.train);
  val_ = open_all(shards.val);
  if (manifest) {
    recorded_vocab_size_ = manifest->vocab_size;
    tokenizer_ = manifest->tokenizer;
    hash_ =
        scalevec::experiments::data_hash(checked_hashes(train_, manifest->train), checked_hashes(val_, manifest->val));
    if (hash_ != manifest->sha256)
      throw UsageError(
          (folder / kManifestName).string() +
          ": its sha256 is not that of the files that it lists: the list was changed; allowed: the file as "
          "it was, or the folder without it, which is read unchecked");
  }
}

std::int64_t TokenFolderSource::vocab_size() const {
  if (recorded_vocab_size_ > 0) return recorded_vocab_size_;
  std::int64_t high = -1;
  for (const auto* split : {&train_, &val_}) {
    for (const TokenFile& shard : *split) {
      if (const auto range = shard.id_range()) high = std::max(high, range->high);
    }
  }
  return high + 1;
}

void TokenFolderSource::check_vocabulary(std::int64_t vocab_size) const {
  for (const auto* split : {&train_, &val_}) {
    for (const TokenFile& shard : *split) {
      const auto range = shard.id_range();
      if (!range || range->high < vocab_size) continue;
      std::int64_t bad = 0;
      while (shard[bad] < vocab_size) ++bad;
      throw UsageError(shard.path().string() + ": token " + std::to_string(bad) + " has id " +
                       std::to_string(shard[bad]) + "; allowed: 0 to " + std::to_string(vocab_size - 1) +
                       " (the vocabulary has " + std::to_string(vocab_size) + ", the file needs " +
                       std::to_string(range->high + 1) + ")");
    }
  }
}

std::int64_t TokenFolderSource::count_windows(const std::vector<TokenFile>& split, const char* name,
                                              std::int64_t seq_len) const {
  if (seq_len < 1) throw std::invalid_argument("seq_len: got " + std::to_string(seq_len) + "; allowed: at least 1");
  std::int64_t windows = 0, longest = 0;
  for (const TokenFile& shard : split) {
    windows += windows_of(shard, seq_len);
    longest = std::max(longest, shard.size());
  }
  if (windows == 0) {
    throw UsageError(folder_.string() + ": the " + name + " split is shorter than one sequence: " +
                     std::to_string(longest) + " tokens in its longest shard; needed: " + std::to_string(seq_len + 1) +
                     " (the sequence length and one more target)");
  }
  return windows;
}

std::int64_t TokenFolderSource::epoch_windows(std::int64_t seq_len) const {
  return count_windows(train_, "train", seq_len);
}

std::int64_t TokenFolderSource::validation_windows(std::int64_t seq_len) const {
  return count_windows(val_, "val", seq_len);
}

void TokenFolderSource::train_batch(std::int64_t step, std::int64_t global_batch, std::int64_t first,
                                    std::int64_t count, std::int64_t seq_len, std::int64_t* out) const {
  const std::int64_t windows = epoch_windows(seq_len);
  for (std::int64_t row = first; row < first + count; ++row) {
    const std::int64_t number = step * global_batch + row;
    const Permutation order(windows, data_seed_, kOrderStream ^ static_cast<std::uint64_t>(number / windows));
    copy_window(train_, static_cast<std::int64_t>(order(number % windows)), seq_len, out);
    out += seq_len + 1;
  }
}

void TokenFolderSource::validation_rows(std::int64_t first, std::int64_t count, std::int64_t seq_len,
                                        std::int64_t* out) const {
  const std::int64_t windows = validation_windows(seq_len);
  if (first < 0 || count < 0 || first > windows - count) {
    throw std::out_of_range("validation rows " + std::to_string(first) + " to " + std::to_string(first + count) +
                            "; allowed: within " + std::to_string(windows));
  }
  // Keyed by no seed: every run of every seed is validated on the same windows.
  const Permutation order(windows, 0, kValidationStream);
  for (std::int64_t row = first; row < first + count; ++row) {
    copy_window(val_, static_cast<std::int64_t>(order(row)), seq_len, out);
    out += seq_len + 1;
  }
}

std::string TokenFolderSource::data_hash() const {
  if (hash_.empty()) hash_ = scalevec::experiments::data_hash(hash_all(train_), hash_all(val_));
  return hash_;
}

void TokenFolderSource::check_unchanged() {
  const TokenFile* changed = nullptr;
  for (const auto* split : {&train_, &val_})
    for (const TokenFile& shard : *split)
      if (shard.written_to()) changed = &shard;
  if (changed == nullptr) return;
  // Its time of change alone says little.
  const std::string known = std::exchange(hash_, "");
  if (known.empty() || data_hash() != known)
    throw RunError(changed->path().string() + ": was changed while the run read it; allowed: the file as it was");
  for (auto* split : {&train_, &val_})
    for (TokenFile& shard : *split) shard.renew();
}

std::string TokenFolderSource::describe() const {
  return std::to_string(total_tokens(train_)) + " training tokens in " + std::to_string(train_.size()) + " files, " +
         std::to_string(total_tokens(val_)) + " validation tokens in " + std::to_string(val_.size()) + " files" +
         (tokenizer_.empty() ? "" : ", tokenizer " + tokenizer_);
}

}  // namespace scalevec::experiments
