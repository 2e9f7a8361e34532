#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "optim/core/traces.hpp"
#include "theory/simulate/batch_optimizer.hpp"

// The toy model of T5, simulated with the library's own update rules: one scale γ per replica, loss ½h(γ − γ*)²,
// gradient h(γ − γ*) + σn.
namespace scalevec::theory {

struct OutputScaleToy {
  double h = 1.0;       // curvature, > 0
  double target = 2.0;  // γ*
  double sigma = 1.5;   // standard deviation of the gradient noise, ≥ 0
  double gamma0 = 1.0;  // initial γ of every replica
};

// Steps count from 0. Noise n of replica i at step t is random_normal(seed, stream_of("toy.noise") + i, t), whatever
// the number of replicas: the LibTorch toy model draws the same.
struct SimulationOptions {
  std::int64_t steps = 0;          // ≥ 1
  std::int64_t replicas = 1;       // ≥ 1
  std::int64_t average_steps = 1;  // γ is averaged after each of the last so many steps; 1 to `steps`
  std::uint64_t seed = 0;
  std::vector<std::int64_t> trace_steps = {};  // ascending, in [0, steps)

  // Why these values mean nothing, naming the field; empty if they are sound.
  std::string error() const;
};

struct OutputScaleCell {
  OutputScaleToy toy;
  SimulatedRule rule;
};

struct OutputScaleResult {
  double gamma_mean = 0.0;          // over replicas and the averaging window
  double gamma_stderr = 0.0;        // of that mean, from the replicas' own window means; NaN for one replica
  std::vector<double> final_gamma;  // per replica
  std::vector<TraceRow> traces;     // one per trace step: parameter "gamma", group "scale.output"
};

// Every cell with the same noise (common random numbers: differences between cells are paired), one result per cell.
// The same for any set of cells. Throws std::invalid_argument naming the field that is wrong.
std::vector<OutputScaleResult> simulate_output_scale(std::span<const OutputScaleCell> cells,
                                                     const SimulationOptions& options);

OutputScaleResult simulate_output_scale(const OutputScaleCell& cell, const SimulationOptions& options);

}  // namespace scalevec::theory
