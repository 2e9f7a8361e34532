#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "experiments/train/chrome_trace.hpp"

namespace scalevec::experiments {

class OperatorRecorder;

// Profiles some steps of a run and writes them as a Chrome trace: the phases of each step, and every LibTorch operator
// on every thread, forward and backward. Times are CPU times; on a GPU they are those of the kernel launches.
class StepProfiler {
 public:
  // Profiles `steps` steps; 0: none. The first two steps of the process, which also allocate memory and start threads,
  // are skipped if more than two steps are left.
  StepProfiler(std::int64_t steps, std::int64_t steps_left, Phases& phases, std::filesystem::path file);
  ~StepProfiler();
  StepProfiler(const StepProfiler&) = delete;
  StepProfiler& operator=(const StepProfiler&) = delete;

  void begin_step();
  // True if this was the last step to profile; the file is then written. Throws RunError.
  bool end_step(std::int64_t step);
  // For a run that ends before: writes the steps profiled so far. True if there are any.
  bool finish();

  // "steps 3 to 12, forward 40 %, backward 52 %, …: FILE".
  std::string words() const;

 private:
  Phases& phases_;
  std::filesystem::path file_;
  std::int64_t passed_over_ = 0, wanted_ = 0;
  Phases::Clock::time_point begin_;
  std::vector<StepEvent> steps_;
  std::vector<Phases::Event> phase_events_;
  std::unique_ptr<OperatorRecorder> recorder_;
  bool written_ = false;
};

}  // namespace scalevec::experiments
