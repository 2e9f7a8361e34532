#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "optim/core/traces.hpp"

// Models as LibTorch modules, trained by the same session and optimizers as a language model.
namespace scalevec::experiments {

// A run of the toy of T5 (docs/theory.md).
struct ToyRunOptions {
  std::string method = "adamw";  // as in a policy
  double h = 1.0, target = 2.0, sigma = 1.5, gamma0 = 1.0;
  double lr = 1e-3, weight_decay = 0.0, decay_target = 0.0;  // constant lr, coupling `lr`
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;             // adamw
  std::int64_t steps = 1, replicas = 1;
  std::uint64_t seed = 0;          // of the noise
  std::int64_t average_steps = 1;  // γ is averaged over the ends of this many last steps
};

struct ToyRunResult {
  double gamma_mean = 0.0, gamma_stderr = 0.0;  // over replicas, of the average of each replica
  std::vector<double> final_gamma;              // per replica
  std::vector<TraceRow> last_traces;            // of the last step
};

// What some figures ask of trained models. A program that has them sets them, so that the figures need no LibTorch.
struct TrainedRuns {
  // Trains the toy and returns its γ.
  ToyRunResult (*run_toy)(const ToyRunOptions& options);

  // For any toy: the loss without noise minus its minimum after the run, mean over replicas; infinite if the run
  // diverged. `config` is a configuration of `scalevec train` (docs/configuration.md). Throws ConfigError.
  double (*toy_excess)(const nlohmann::json& config);

  // The traces of the toy's first parameter at every `every`-th step, from step `first` on, counted from 0. Throws
  // RunError if the run diverged.
  std::vector<TraceRow> (*toy_traces)(const nlohmann::json& config, std::int64_t first, std::int64_t every);

  // The largest difference of the logits of a decoder with γ uniform in [least, largest] and of the same decoder
  // folded, divided by the largest logit (T1 in docs/theory.md); in float64 or float32. `width` is a multiple of 32.
  double (*fold_gap)(std::int64_t layers, std::int64_t width, double least, double largest, bool float64,
                     std::uint64_t seed);
};

void set_trained_runs(const TrainedRuns& runs);

// Throws std::logic_error if none were set.
const TrainedRuns& trained_runs();

}  // namespace scalevec::experiments
