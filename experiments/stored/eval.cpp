#include "experiments/stored/eval.hpp"

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "experiments/errors.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {

EvalResult evaluate(models::Decoder& model, const BatchSource& source, const EvalOptions& options,
                    double bytes_per_token) {
  const torch::NoGradGuard no_grad;
  model.eval();
  source.check_vocabulary(model.vocab_size());
  EvalResult result;
  const std::int64_t all = source.validation_windows(options.length);
  result.windows = options.sequences == 0 ? all : std::min(all, options.sequences);
  double total = 0.0;
  for (std::int64_t first = 0; first < result.windows; first += options.batch) {
    const std::int64_t count = std::min(options.batch, result.windows - first);
    torch::Tensor tokens = torch::empty({count, options.length + 1}, torch::kInt64);
    source.validation_rows(first, count, options.length, tokens.data_ptr<std::int64_t>());
    total += model.loss(tokens, 0).item<double>() * static_cast<double>(count);
  }
  result.tokens = result.windows * options.length;
  result.loss = total / static_cast<double>(result.windows);
  if (!std::isfinite(result.loss)) throw RunError("the model's validation loss is not finite");
  if (bytes_per_token > 0.0) result.per_byte = result.loss / bytes_per_token;
  return result;
}

std::string eval_text(const EvalResult& r) {
  std::string text = std::to_string(r.windows) + " windows, " + std::to_string(r.tokens) +
                     printed(" tokens\nloss %.6f nats per token, perplexity %.4f\n", r.loss, std::exp(r.loss));
  if (r.per_byte > 0.0)
    text += printed("loss %.6f nats per byte (%.6f bits), perplexity %.4f\n", r.per_byte, r.per_byte / std::log(2.0),
                    std::exp(r.per_byte));
  return text;
}

std::string eval_json(const EvalResult& r) {
  nlohmann::ordered_json out = {
      {"windows", r.windows}, {"tokens", r.tokens}, {"loss", r.loss}, {"perplexity", std::exp(r.loss)}};
  if (r.per_byte > 0.0) {
    out["loss_per_byte"] = r.per_byte;
    out["perplexity_per_byte"] = std::exp(r.per_byte);
  }
  return out.dump(1) + "\n";
}

}  // namespace scalevec::experiments
