#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/train/run_config.hpp"

namespace scalevec::experiments {

// What a training step of a decoder takes, from its shapes.
struct StepCost {
  double map_flops = 0.0;        // of linear maps, forward and backward: 6 per weight and token
  double attention_flops = 0.0;  // of attention's products: 3.5 times the forward's, which is computed again
  double call_seconds = 0.0;     // of calling the operators, which is most of the time of a tiny model's step
  double bytes = 0.0;            // weights, gradients and AdamW's states, and what a forward pass keeps

  // On cores that multiply matrices at `flops` per second. Half of that rate for maps and a third for attention, which
  // is what steps of small models reach (docs/performance.md).
  double seconds(double flops) const {
    return call_seconds + map_flops / (0.5 * flops) + 3.0 * attention_flops / flops;
  }
};

StepCost step_cost(const RunConfig& config, std::int64_t parameters);

// What a plan says of time, memory and data: a line each, with a warning where a step takes minutes or more memory than
// the machine has. Not of a toy.
std::vector<std::string> plan_notes(const RunConfig& config, std::int64_t parameters, double flops,
                                    double memory_bytes);

// Floating-point operations per second of a float32 matrix product, measured for a tenth of a second.
double measured_flops();

}  // namespace scalevec::experiments
