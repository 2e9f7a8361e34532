#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "optim/core/traces.hpp"
#include "theory/simulate/output_scale.hpp"

// Models as LibTorch modules, trained by the same session and optimizers as a language model.
namespace scalevec::experiments {

// What some figures ask of trained models. A program that has them sets them, so that the figures need no LibTorch.
struct TrainedRuns {
  // The toy of T5 as simulate_output_scale() has it, trained at a constant lr.
  theory::OutputScaleResult (*run_toy)(const theory::OutputScaleCell& cell, const theory::SimulationOptions& options);

  // For any toy: the loss without noise minus its minimum after the run, mean over replicas; infinite if the run
  // diverged. `config` is a configuration of `scalevec train` (docs/configuration.md). Throws ConfigError.
  double (*toy_excess)(const nlohmann::json& config);

  // The traces of each of the toy's parameters, which their names tell apart, at every `every`-th step, from step
  // `first` on, counted from 0. Throws RunError if the run diverged.
  std::vector<std::vector<TraceRow>> (*toy_traces)(const nlohmann::json& config, std::int64_t first,
                                                   std::int64_t every);

  // The largest difference of the logits of a decoder with γ uniform in [least, largest] and of the same decoder
  // folded, divided by the largest logit (T1 in docs/theory.md); in float64 or float32. `width` is a multiple of 32.
  double (*fold_gap)(std::int64_t layers, std::int64_t width, double least, double largest, bool float64,
                     std::uint64_t seed);
};

void set_trained_runs(const TrainedRuns& runs);

// Throws std::logic_error if none were set.
const TrainedRuns& trained_runs();

}  // namespace scalevec::experiments
