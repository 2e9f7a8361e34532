#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "experiments/record/run_trace.hpp"
#include "experiments/record/tensorboard.hpp"

namespace scalevec::experiments {

// The logs of a run for TensorBoard: train/… and val/loss, TRACE/GROUP for each trace of each group of parameters, and
// gamma/NAME, the distribution of each scale vector. The traces of single parameters are only in traces.jsonl.
class RunEvents {
 public:
  // All functions throw RunError.
  RunEvents(const std::filesystem::path& folder, std::int64_t last_step) : file_(folder, last_step) {}

  struct Training {
    double loss, lr, grad_norm, clip_factor, tokens_per_second;  // the last is 0 for a toy and then left out
  };
  void training(std::int64_t step, const Training& t);
  void validation(std::int64_t step, double loss);
  void traces(std::int64_t step, const std::vector<RunTraceRow>& params, const std::vector<RunTraceRow>& groups);

 private:
  EventFile file_;
};

}  // namespace scalevec::experiments
