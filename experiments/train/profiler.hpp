#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "scalevec/experiments/train/chrome_trace.hpp"

namespace scalevec {

class OperatorRecorder;

// Profiles some steps of a run and writes them as a Chrome trace: the step's phases, and every LibTorch operator on
// every thread, forward and backward. Times are the CPU's: on a GPU those of the launches.
class StepProfiler {
 public:
  // `steps` 0 does nothing. The first two steps of the process are passed over where more than they are left of the
  // run: they also pay for memory and threads.
  StepProfiler(std::int64_t steps, std::int64_t steps_left, Phases& phases, std::filesystem::path file);
  ~StepProfiler();
  StepProfiler(const StepProfiler&) = delete;
  StepProfiler& operator=(const StepProfiler&) = delete;

  void begin_step();
  // True when this was the last one to profile: the file is then written. Throws RunError.
  bool end_step(std::int64_t step);
  // Writes what there is of a run that ends before; true if there was something.
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

}  // namespace scalevec
