#include "experiments/train/phases.hpp"

namespace scalevec::experiments {

std::string_view to_string(Phase phase) {
  constexpr std::array<std::string_view, kPhases> names{"batch",  "forward", "backward",   "optimizer",
                                                        "traces", "log",     "validation", "checkpoint"};
  return names[static_cast<std::size_t>(phase)];
}

void Phases::add(Phase phase, Clock::duration time) {
  seconds_[static_cast<std::size_t>(phase)] += std::chrono::duration<double>(time).count();
}

SlowestPhase slowest_phase(const PhaseSeconds& now, const PhaseSeconds& before) {
  SlowestPhase slowest;
  double total = 0.0, most = 0.0;
  for (std::size_t i = 0; i < kPhases; ++i) {
    const double seconds = now[i] - before[i];
    total += seconds;
    if (seconds > most) {
      most = seconds;
      slowest.phase = static_cast<Phase>(i);
    }
  }
  if (total > 0.0) slowest.share = most / total;
  return slowest;
}

}  // namespace scalevec::experiments
