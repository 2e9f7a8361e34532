#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "experiments/data/token_file.hpp"

namespace scalevec::experiments {

// A source of training and validation sequences. A sequence of length T is a window of T + 1 token ids: the first T are
// inputs, the last T are targets. The result of every call depends only on its arguments and on what the source was
// opened with, so resuming needs no state and a rank can read only its rows.
class BatchSource {
 public:
  virtual ~BatchSource() = default;

  // Token ids are in [0, vocab_size()).
  virtual std::int64_t vocab_size() const = 0;

  // Throws UsageError with the file, the position and the id of the first token that is not in [0, vocab_size). Reads
  // every token.
  virtual void check_vocabulary(std::int64_t vocab_size) const = 0;

  // The number of training windows before they repeat. Throws UsageError if there is none.
  virtual std::int64_t epoch_windows(std::int64_t seq_len) const = 0;

  // Writes rows [first, first + count) of the global batch of `step` (from 0) to `out`, as count × (seq_len + 1) ids.
  // Row r of step s is window number s·global_batch + r of the run. Windows do not repeat within an epoch; the data
  // seed determines their order.
  virtual void train_batch(std::int64_t step, std::int64_t global_batch, std::int64_t first, std::int64_t count,
                           std::int64_t seq_len, std::int64_t* out) const = 0;

  // The number of validation windows. Throws UsageError with the number of tokens found and needed if there is none.
  virtual std::int64_t validation_windows(std::int64_t seq_len) const = 0;

  // Writes validation windows [first, first + count) to `out`, as count × (seq_len + 1) ids. Their order is fixed, and
  // any leading part of it is spread over the whole split. Throws std::out_of_range beyond validation_windows().
  virtual void validation_rows(std::int64_t first, std::int64_t count, std::int64_t seq_len,
                               std::int64_t* out) const = 0;

  // SHA-256 of the data, for the record of a run. Reads every token.
  virtual std::string data_hash() const = 0;

  // Throws RunError if the data were changed since they were opened.
  virtual void check_unchanged() {}

  // One line for the reader: what the data are, not where.
  virtual std::string describe() const = 0;
};

// A folder of token shards, memory-mapped: ours, llm.c's or modded-nanogpt's (see find_shards()). Windows cover each
// shard with stride T. Neighbouring windows share one token, which is the last target of one and the first input of the
// next. Up to T tokens at the end of a shard are not used.
class TokenFolderSource : public BatchSource {
 public:
  // UsageError if a shard is damaged or there is no train or no val shard. Where the folder has a data.json, the shards
  // are the ones that it names, each is read once and its SHA-256 compared.
  TokenFolderSource(const std::filesystem::path& folder, std::uint64_t data_seed);

  std::int64_t vocab_size() const override;  // from data.json, else the largest id + 1 (reads every token)
  void check_vocabulary(std::int64_t vocab_size) const override;
  std::int64_t epoch_windows(std::int64_t seq_len) const override;
  void train_batch(std::int64_t step, std::int64_t global_batch, std::int64_t first, std::int64_t count,
                   std::int64_t seq_len, std::int64_t* out) const override;
  std::int64_t validation_windows(std::int64_t seq_len) const override;
  void validation_rows(std::int64_t first, std::int64_t count, std::int64_t seq_len, std::int64_t* out) const override;
  std::string data_hash() const override;
  void check_unchanged() override;
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

}  // namespace scalevec::experiments
