#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/data/batch_source.hpp"
#include "optim/core/option.hpp"

namespace scalevec::experiments {

// A language of Zipf-distributed bigrams (ours). The probability of token t after token c is
//   P(t|c) = (1 − mixing)·zipf_branching(rank of t among c's successors) + mixing·zipf_vocab(t),
//   zipf_n(r) ∝ (r + 1)^−zipf_exponent for r < n.
// The `branching` successors of c and their order are a pseudo-random choice that depends on the seed.
struct SyntheticOptions {
  std::int64_t vocab_size = 256;          // in [2, 65536]
  double zipf_exponent = 1.0;             // in [0, 10]; 0 is uniform
  std::int64_t branching = 16;            // successors per token, in [1, vocab_size]
  double mixing = 0.1;                    // weight of the unigram part, in [0.01, 1]; 1: no bigram structure
  std::uint64_t seed = 0;                 // determines the language and its validation text
  std::int64_t validation_windows = 256;  // at least 1

  Options fields();

  // The first error, with the field, the value and what is allowed; empty if there is none.
  std::string error() const;
};

// Training text without end, with a new window for every row of every step, and a fixed validation text from other
// random streams. The first token of each window is drawn from the stationary distribution. Needs no file.
class SyntheticSource : public BatchSource {
 public:
  // `data_seed` determines the training text; the seed in the options determines the language. Throws ConfigError with
  // options.error().
  SyntheticSource(const SyntheticOptions& options, std::uint64_t data_seed);

  std::int64_t vocab_size() const override { return options_.vocab_size; }
  void check_vocabulary(std::int64_t vocab_size) const override;
  std::int64_t epoch_windows(std::int64_t seq_len) const override;  // the largest int64: it never repeats
  void train_batch(std::int64_t step, std::int64_t global_batch, std::int64_t first, std::int64_t count,
                   std::int64_t seq_len, std::int64_t* out) const override;
  std::int64_t validation_windows(std::int64_t seq_len) const override { return options_.validation_windows; }
  void validation_rows(std::int64_t first, std::int64_t count, std::int64_t seq_len, std::int64_t* out) const override;
  std::string data_hash() const override;
  std::string describe() const override;

  // The entropy rate −Σ_c μ(c) Σ_t P(t|c) ln P(t|c) in nats per token, which is the least expected loss of any model.
  double entropy_floor() const { return entropy_floor_; }

  double probability(std::int64_t token, std::int64_t next) const;       // P(next|token)
  const std::vector<double>& stationary() const { return stationary_; }  // μ, with μP = μ

 private:
  void build_language();
  void measure_language();
  void write_window(std::uint64_t seed, std::uint64_t stream, std::int64_t seq_len, std::int64_t* out) const;
  const std::uint16_t* successors_of(std::int64_t token) const { return &successors_[token * options_.branching]; }

  SyntheticOptions options_;
  std::uint64_t data_seed_;
  std::vector<double> unigram_, rank_;  // probabilities: of a token by mixing, of a successor's rank
  std::vector<double> unigram_cdf_, rank_cdf_, stationary_, stationary_cdf_;
  std::vector<std::uint16_t> successors_;  // vocab_size × branching
  double entropy_floor_ = 0.0;
};

}  // namespace scalevec::experiments
