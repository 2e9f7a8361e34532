#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

// The time that the phases of a training step take. Reading the clock twice per phase takes less than 0.1 µs, so this
// is always on.
namespace scalevec::experiments {

enum class Phase { batch, forward, backward, optimizer, traces, log, validation, checkpoint };
inline constexpr std::size_t kPhases = 8;
std::string_view to_string(Phase phase);
using PhaseSeconds = std::array<double, kPhases>;

class Phases {
 public:
  using Clock = std::chrono::steady_clock;

  // Adds the time from its construction to its destruction to `phase`. Phases must not nest.
  class Scope {
   public:
    Scope(Phases& phases, Phase phase) : phases_(phases), phase_(phase), begin_(Clock::now()) {
      if (phases_.watcher_) phases_.watcher_(phase, true);
    }
    ~Scope() {
      if (phases_.watcher_) phases_.watcher_(phase_, false);
      phases_.add(phase_, Clock::now() - begin_);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Phases& phases_;
    Phase phase_;
    Clock::time_point begin_;
  };

  Scope scope(Phase phase) { return Scope(*this, phase); }
  void add(Phase phase, Clock::duration time);

  const PhaseSeconds& seconds() const { return seconds_; }

  // Is called when a phase begins (true) and ends (false); empty: nobody.
  using Watcher = std::function<void(Phase, bool)>;
  void set_watcher(Watcher watcher) { watcher_ = std::move(watcher); }

 private:
  PhaseSeconds seconds_{};
  Watcher watcher_;
};

// The phase that took the longest time between two readings, and its share of the time of all phases.
struct SlowestPhase {
  Phase phase = Phase::forward;
  double share = 0.0;  // 0 if no time passed
};
SlowestPhase slowest_phase(const PhaseSeconds& now, const PhaseSeconds& before);

}  // namespace scalevec::experiments
