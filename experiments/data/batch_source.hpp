#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "scalevec/experiments/data/token_file.hpp"

namespace scalevec {

// Where training and validation sequences come from. A sequence of length T is a window of T+1 token ids: its first T
// are inputs, its last T targets. Every call is a pure function of its arguments and of what the source was opened
// with, so that resuming needs no state and a rank may read just its rows.
class BatchSource {
 public:
  virtual ~BatchSource() = default;

  // Ids are in [0, vocab_size()).
  virtual std::int64_t vocab_size() const = 0;

  // UsageError naming the file, position and id of the first token that is not in [0, vocab_size). Reads every token.
  virtual void check_vocabulary(std::int64_t vocab_size) const = 0;

  // Windows before training data repeat. UsageError if there is not even one.
  virtual std::int64_t epoch_windows(std::int64_t seq_len) const = 0;

  // Rows [first, first + count) of the global batch of `step`, as count × (seq_len + 1) ids at `out`. Row r of step s
  // is window number s·global_batch + r of the run: windows do not repeat within an epoch, whose order is keyed by the
  // data seed.
  virtual void train_batch(std::int64_t step, std::int64_t global_batch, std::int64_t first, std::int64_t count,
                           std::int64_t seq_len, std::int64_t* out) const = 0;

  // UsageError naming the tokens found and needed if there is not even one.
  virtual std::int64_t validation_windows(std::int64_t seq_len) const = 0;

  // Validation windows [first, first + count), in a fixed order that spreads any leading part over the whole split, as
  // count × (seq_len + 1) ids at `out`. std::out_of_range beyond validation_windows().
  virtual void validation_rows(std::int64_t first, std::int64_t count, std::int64_t seq_len,
                               std::int64_t* out) const = 0;

  // SHA-256 of what the source holds, for the record of a run. Reads every token.
  virtual std::string data_hash() const = 0;

  // One line for people.
  virtual std::string describe() const = 0;
};

// A folder of token shards, memory-mapped: ours, llm.c's or modded-nanogpt's (see find_shards()). Windows tile each
// shard with stride T, neighbours sharing one token (the target of one and first input of the next); the up to T tokens
// left at a shard's end are not used.
class TokenFolderSource : public BatchSource {
 public:
  // UsageError if a shard is damaged or there is no train or no val shard. Where the folder has a data.json, the shards
  // are the ones that it names, each is read once and its SHA-256 compared.
  TokenFolderSource(const std::filesystem::path& folder, std::uint64_t data_seed);

  std::int64_t vocab_size() const override;  // data.json's, or else the largest id + 1 (reads every token)
  void check_vocabulary(std::int64_t vocab_size) const override;
  std::int64_t epoch_windows(std::int64_t seq_len) const override;
  void train_batch(std::int64_t step, std::int64_t global_batch, std::int64_t first, std::int64_t count,
                   std::int64_t seq_len, std::int64_t* out) const override;
  std::int64_t validation_windows(std::int64_t seq_len) const override;
  void validation_rows(std::int64_t first, std::int64_t count, std::int64_t seq_len, std::int64_t* out) const override;
  std::string data_hash() const override;
  std::string describe() const override;

 private:
  std::int64_t count_windows(const std::vector<TokenFile>& split, const char* name, std::int64_t seq_len) const;

  std::filesystem::path folder_;
  std::uint64_t data_seed_;
  std::int64_t recorded_vocab_size_ = 0;  // 0 without a data.json
  std::string tokenizer_;
  std::vector<TokenFile> train_, val_;
  mutable std::string hash_;  // empty until it is asked for
};

}  // namespace scalevec
