#include "experiments/data/synthetic_source.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>
#include <stdexcept>

#include "experiments/data/permutation.hpp"
#include "experiments/errors.hpp"
#include "experiments/system/sha256.hpp"

namespace scalevec::experiments {
namespace {

constexpr std::uint64_t kSuccessorStream = stream_of("synthetic.successors");
constexpr std::uint64_t kTrainStream = stream_of("synthetic.train");
constexpr std::uint64_t kSyntheticValidationStream = stream_of("synthetic.validation");

std::vector<double> zipf(std::int64_t count, double exponent) {
  std::vector<double> p(count);
  for (std::int64_t r = 0; r < count; ++r) p[r] = std::pow(static_cast<double>(r + 1), -exponent);
  const double sum = std::accumulate(p.rbegin(), p.rend(), 0.0);
  for (double& x : p) x /= sum;
  return p;
}

std::vector<double> cumulative(const std::vector<double>& p) {
  std::vector<double> cdf(p.size());
  std::partial_sum(p.begin(), p.end(), cdf.begin());
  return cdf;
}

std::int64_t draw(const std::vector<double>& cdf, double uniform) {
  // The last sum may round below 1.
  return std::min<std::int64_t>(std::upper_bound(cdf.begin(), cdf.end(), uniform) - cdf.begin(),
                                static_cast<std::int64_t>(cdf.size()) - 1);
}

double p_log_p(double p) { return p * std::log(p); }

}  // namespace

Options SyntheticOptions::fields() {
  return {
      {"vocab_size", &vocab_size, Range::between(2, 65536), {}, "tokens of the language", false, true, "the model's"},
      {"zipf_exponent", &zipf_exponent, Range::between(0, 10), {}, "of the probabilities; 0: uniform"},
      {"branching", &branching, Range::at_least(1), {}, "number of likely successors of a token, at most vocab_size"},
      {"mixing", &mixing, Range::between(0.01, 1), {}, "weight of the distribution that ignores the previous token"},
      {"seed", &seed, Range::between(0, 9007199254740992.0), {}, "seed of the language and of its validation text"},
      {"validation_windows", &validation_windows, Range::between(1, 1e12), {}, "sequences in the validation text"}};
}

std::string SyntheticOptions::error() const {
  SyntheticOptions copy = *this;
  if (const std::string error = option_error(copy.fields()); !error.empty()) return error;
  if (branching > vocab_size)
    return not_allowed("branching", static_cast<double>(branching),
                       "at most vocab_size, " + std::to_string(vocab_size));
  return {};
}

SyntheticSource::SyntheticSource(const SyntheticOptions& options, std::uint64_t data_seed)
    : options_(options), data_seed_(data_seed) {
  if (const std::string error = options.error(); !error.empty()) throw ConfigError(error);
  build_language();
  measure_language();
}

void SyntheticSource::build_language() {
  unigram_ = zipf(options_.vocab_size, options_.zipf_exponent);
  rank_ = zipf(options_.branching, options_.zipf_exponent);
  unigram_cdf_ = cumulative(unigram_);
  rank_cdf_ = cumulative(rank_);
  successors_.reserve(options_.vocab_size * options_.branching);
  for (std::int64_t token = 0; token < options_.vocab_size; ++token) {
    const Permutation order(options_.vocab_size, options_.seed, kSuccessorStream ^ static_cast<std::uint64_t>(token));
    for (std::int64_t r = 0; r < options_.branching; ++r) {
      successors_.push_back(static_cast<std::uint16_t>(order(r)));
    }
  }
}

void SyntheticSource::measure_language() {
  const double m = options_.mixing;
  // μ ← m·unigram + (1 − m)·μA contracts by 1 − m a round in the sum of absolute values.
  stationary_ = unigram_;
  const int rounds = m < 1.0 ? static_cast<int>(std::ceil(std::log(1e-17) / std::log1p(-m))) : 1;
  for (int i = 0; i < rounds; ++i) {
    std::vector<double> next(unigram_);
    for (double& p : next) p *= m;
    for (std::int64_t c = 0; c < options_.vocab_size; ++c) {
      for (std::int64_t r = 0; r < options_.branching; ++r) {
        next[successors_of(c)[r]] += (1.0 - m) * stationary_[c] * rank_[r];
      }
    }
    stationary_ = std::move(next);
  }
  stationary_cdf_ = cumulative(stationary_);

  double unigram_part = 0.0;
  for (const double p : unigram_) unigram_part += p_log_p(m * p);
  entropy_floor_ = 0.0;
  for (std::int64_t c = 0; c < options_.vocab_size; ++c) {
    double sum = unigram_part;
    for (std::int64_t r = 0; r < options_.branching; ++r) {
      const double base = m * unigram_[successors_of(c)[r]];
      sum += p_log_p(base + (1.0 - m) * rank_[r]) - p_log_p(base);
    }
    entropy_floor_ -= stationary_[c] * sum;
  }
}

double SyntheticSource::probability(std::int64_t token, std::int64_t next) const {
  const std::uint16_t* begin = successors_of(token);
  const std::uint16_t* end = begin + options_.branching;
  const std::uint16_t* at = std::find(begin, end, next);
  return options_.mixing * unigram_[next] + (at == end ? 0.0 : (1.0 - options_.mixing) * rank_[at - begin]);
}

void SyntheticSource::write_window(std::uint64_t seed, std::uint64_t stream, std::int64_t seq_len,
                                   std::int64_t* out) const {
  out[0] = draw(stationary_cdf_, random_uniform(seed, stream, 0));
  for (std::int64_t i = 1; i <= seq_len; ++i) {
    const PhiloxBlock block = random_block(seed, stream, static_cast<std::uint64_t>(i));
    const double which = uniform_from_bits((std::uint64_t{block.word[1]} << 32) | block.word[0]);
    const double place = uniform_from_bits((std::uint64_t{block.word[3]} << 32) | block.word[2]);
    out[i] = which < options_.mixing ? draw(unigram_cdf_, place) : successors_of(out[i - 1])[draw(rank_cdf_, place)];
  }
}

void SyntheticSource::check_vocabulary(std::int64_t vocab_size) const {
  if (vocab_size >= options_.vocab_size) return;
  throw UsageError("synthetic data has ids up to " + std::to_string(options_.vocab_size - 1) + "; allowed: 0 to " +
                   std::to_string(vocab_size - 1) + " (the vocabulary has " + std::to_string(vocab_size) + ")");
}

std::int64_t SyntheticSource::epoch_windows(std::int64_t) const { return std::numeric_limits<std::int64_t>::max(); }

void SyntheticSource::train_batch(std::int64_t step, std::int64_t global_batch, std::int64_t first, std::int64_t count,
                                  std::int64_t seq_len, std::int64_t* out) const {
  for (std::int64_t row = first; row < first + count; ++row) {
    write_window(data_seed_, kTrainStream ^ static_cast<std::uint64_t>(step * global_batch + row), seq_len, out);
    out += seq_len + 1;
  }
}

void SyntheticSource::validation_rows(std::int64_t first, std::int64_t count, std::int64_t seq_len,
                                      std::int64_t* out) const {
  if (first < 0 || count < 0 || first > options_.validation_windows - count) {
    throw std::out_of_range("validation rows " + std::to_string(first) + " to " + std::to_string(first + count) +
                            "; allowed: within " + std::to_string(options_.validation_windows));
  }
  for (std::int64_t row = first; row < first + count; ++row) {
    write_window(options_.seed, kSyntheticValidationStream ^ static_cast<std::uint64_t>(row), seq_len, out);
    out += seq_len + 1;
  }
}

std::string SyntheticSource::data_hash() const { return sha256(describe()); }

std::string SyntheticSource::describe() const {
  std::ostringstream text;
  text.precision(17);
  text << "synthetic Zipf bigrams: vocab_size " << options_.vocab_size << ", zipf_exponent " << options_.zipf_exponent
       << ", branching " << options_.branching << ", mixing " << options_.mixing << ", seed " << options_.seed
       << ", validation_windows " << options_.validation_windows;
  text.precision(6);
  text << ", entropy floor " << entropy_floor_ << " nats per token";
  return text.str();
}

}  // namespace scalevec::experiments
