#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "experiments/train/phases.hpp"

// Chrome's trace format ("complete" events), which chrome://tracing and ui.perfetto.dev open.
namespace scalevec::experiments {

struct OperatorEvent {
  std::string name;
  std::uint64_t thread;
  Phases::Clock::time_point begin, end;
};

struct StepEvent {
  std::int64_t step;
  Phases::Clock::time_point begin, end;
};

// The whole trace as JSON: one row of steps, one of phases, and one of operators for each thread; times in microseconds
// since the first step's begin. Operators and phases of other steps' time are left out.
std::string chrome_trace(const std::vector<StepEvent>& steps, const std::vector<Phases::Event>& phases,
                         const std::vector<OperatorEvent>& operators);

}  // namespace scalevec::experiments
