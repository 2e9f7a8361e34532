#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "scalevec/experiments/train/tensorboard.hpp"
#include "scalevec/optim/core/traces.hpp"

namespace scalevec {

// A run's logs for TensorBoard: train/… and val/loss, TRACE/GROUP for each trace of each group of parameters, and
// gamma/NAME, the distribution of each scale vector. A parameter's own traces are in traces.jsonl only.
class RunEvents {
 public:
  // Throws RunError, as the others do.
  RunEvents(const std::filesystem::path& folder, std::int64_t last_step) : file_(folder, last_step) {}

  struct Training {
    double loss, lr, grad_norm, clip_factor, tokens_per_second;  // the last is 0 for a toy and then left out
  };
  void training(std::int64_t step, const Training& t);
  void validation(std::int64_t step, double loss);
  void traces(std::int64_t step, const std::vector<TraceRow>& params, const std::vector<TraceRow>& groups);

 private:
  EventFile file_;
};

}  // namespace scalevec
