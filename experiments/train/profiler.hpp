#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "experiments/train/phases.hpp"

namespace scalevec::experiments {

// Profiles some steps of a run by LibTorch's profiler and writes its Chrome trace: each step and its phases as
// annotations, and every operator of LibTorch, forward and backward; on a GPU also the kernels.
class StepProfiler {
 public:
  // Profiles `steps` steps; 0: none. The first two steps of the process, which also allocate memory and start threads,
  // are skipped if more than two steps are left.
  StepProfiler(std::int64_t steps, std::int64_t steps_left, Phases& phases, std::filesystem::path file);
  ~StepProfiler();
  StepProfiler(const StepProfiler&) = delete;
  StepProfiler& operator=(const StepProfiler&) = delete;

  void begin_step(std::int64_t step);
  // True if this was the last step to profile; the file is then written. Throws RunError.
  bool end_step();
  // For a run that ends before: writes the steps profiled so far. True if there are any.
  bool finish();

  // "steps 3 to 12, forward 40 %, backward 52 %, …: FILE".
  std::string words() const;

 private:
  struct Recording;

  Phases& phases_;
  std::filesystem::path file_;
  std::int64_t skipped_ = 0, wanted_ = 0;
  std::int64_t first_ = 0, last_ = -1;  // profiled steps
  PhaseSeconds phase_seconds_{};        // before the first of them; afterwards in them
  double seconds_ = 0.0;
  std::unique_ptr<Recording> recording_;
};

}  // namespace scalevec::experiments
