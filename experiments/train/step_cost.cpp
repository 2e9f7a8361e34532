#include "experiments/train/step_cost.hpp"

#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "experiments/errors.hpp"
#include "experiments/system/terminal_text.hpp"
#include "experiments/system/text.hpp"
#include "experiments/train/session.hpp"

namespace scalevec::experiments {
namespace {

std::string size_text(double bytes) {
  return bytes < 1e9 ? printed(bytes < 1e7 ? "%.1f MB" : "%.0f MB", bytes / 1e6) : printed("%.1f GB", bytes / 1e9);
}

std::string data_note(const RunConfig& config) {
  if (config.synthetic) return "data: synthetic, which does not repeat";
  try {
    const double windows = static_cast<double>(open_source(config)->epoch_windows(config.sequence_length));
    return printed("data: %.0f sequences of %lld tokens, seen %.3g times (epochs)", windows,
                   static_cast<long long>(config.sequence_length),
                   static_cast<double>(config.steps) * static_cast<double>(config.batch_size) / windows);
  } catch (const UsageError& e) {
    return std::string("data: ") + e.what();
  }
}

}  // namespace

StepCost step_cost(const RunConfig& config, std::int64_t parameters) {
  const models::DecoderOptions& o = *config.decoder;
  const double width = static_cast<double>(o.width), layers = static_cast<double>(o.layers);
  const double heads = static_cast<double>(o.heads * o.head_dim), kv = static_cast<double>(o.kv_heads * o.head_dim);
  const double length = static_cast<double>(config.sequence_length);
  const double tokens = length * static_cast<double>(config.batch_size);
  const double vocab = static_cast<double>(o.vocab_size);
  double weights = static_cast<double>(parameters);
  if (!o.tie_embeddings) weights -= vocab * width;  // looked up, not multiplied
  double mlp = static_cast<double>(o.mlp_width);
  if (o.moe.experts > 0) {
    // Of the experts a token meets top_k.
    const double expert = static_cast<double>(o.moe.expert_width), top = static_cast<double>(o.moe.top_k);
    weights -= 3.0 * layers * width * expert * (static_cast<double>(o.moe.experts) - top);
    mlp = expert * top + static_cast<double>(o.moe.shared_width);
  }
  StepCost cost;
  cost.map_flops = 6.0 * weights * tokens;
  for (std::int64_t layer = 0; layer < o.layers; ++layer) {
    const auto index = static_cast<std::size_t>(layer);
    const double window = index < o.windows.size() ? static_cast<double>(o.windows[index]) : 0.0;
    // Keys that a position sees, on average.
    const double seen = window > 0.0 && window < length ? window : length / 2.0;
    cost.attention_flops += 3.5 * 4.0 * seen * heads * tokens;
  }
  // Measured on a Zen 3: 0.5 ms for a layer's operators, forward and backward, and 0.3 ms for the others.
  cost.call_seconds = (0.3e-3 + 0.5e-3 * layers) * static_cast<double>(config.accumulation);
  const double element = config.dtype == "float64" ? 8.0 : 4.0;
  // Kept of a micro-batch for its backward: a layer's residual streams and normed inputs, queries, keys, values and the
  // attention's result, the two halves of the MLP and their product; the logits and their gradient once.
  const double kept = layers * (4.0 * width + 2.0 * heads + 2.0 * kv + 3.0 * mlp) + 2.0 * vocab + 2.0 * width;
  cost.bytes =
      element * (4.0 * static_cast<double>(parameters) + kept * tokens / static_cast<double>(config.accumulation));
  return cost;
}

std::vector<std::string> plan_notes(const RunConfig& config, std::int64_t parameters, double flops,
                                    double memory_bytes) {
  if (!config.decoder) return {};
  const StepCost cost = step_cost(config, parameters);
  const double seconds = cost.seconds(flops);
  std::vector<std::string> notes{data_note(config), "a step takes about " + time_text(seconds) + " and " +
                                                        size_text(cost.bytes) +
                                                        " on this machine's CPU (estimated), the run about " +
                                                        time_text(seconds * static_cast<double>(config.steps))};
  if (seconds > 60.0)
    notes.push_back(
        "warning: a single step takes minutes or more; progress, checkpoints and logs come after whole steps");
  if (cost.bytes > memory_bytes)
    notes.push_back("warning: a step needs more memory than this machine's " + size_text(memory_bytes) +
                    "; allowed: a larger accumulation, a smaller batch_size or a shorter sequence_length");
  return notes;
}

double measured_flops() {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t kSize = 768;
  const torch::Tensor a = at::rand({kSize, kSize}), b = at::rand({kSize, kSize});
  at::mm(a, b);
  double best = 0.0;
  for (const auto start = Clock::now(); Clock::now() - start < std::chrono::milliseconds(100);) {
    const auto before = Clock::now();
    at::mm(a, b);
    best = std::max(best, 2.0 * std::pow(static_cast<double>(kSize), 3) /
                              std::chrono::duration<double>(Clock::now() - before).count());
  }
  return best;
}

}  // namespace scalevec::experiments
