#pragma once

#include <cstdint>
#include <string>

#include "experiments/data/batch_source.hpp"
#include "models/decoder.hpp"

namespace scalevec::experiments {

struct EvalOptions {
  std::int64_t length = 128;     // tokens of a window
  std::int64_t sequences = 128;  // windows at most; 0: all
  std::int64_t batch = 8;        // of windows, per forward pass
};

struct EvalResult {
  std::int64_t windows = 0, tokens = 0;  // predicted tokens
  double loss = 0.0;                     // mean over them, in nats
  double per_byte = 0.0;                 // nats per byte of the validation text; 0: its bytes are not recorded
};

// The mean cross-entropy over a folder's validation windows, those that a run with the same length and number is
// validated on. `bytes_per_token` of the validation split; 0: not known. UsageError for a token that the model's
// vocabulary does not have, RunError for a loss that is not finite.
EvalResult evaluate(models::Decoder& model, const BatchSource& source, const EvalOptions& options,
                    double bytes_per_token);

// For people: loss and perplexity per token, and per byte where its bytes are known.
std::string eval_text(const EvalResult& result);
std::string eval_json(const EvalResult& result);

}  // namespace scalevec::experiments
