#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

// What a training step spends its time on. Reading the clock twice a phase costs under 0.1 µs, so this is always on.
namespace scalevec {

enum class Phase { batch, forward, backward, optimizer, traces, log, validation, checkpoint };
inline constexpr std::size_t kPhases = 8;
std::string_view to_string(Phase phase);
using PhaseSeconds = std::array<double, kPhases>;

class Phases {
 public:
  using Clock = std::chrono::steady_clock;

  struct Event {
    Phase phase;
    Clock::time_point begin, end;
  };

  // Counts the time until its end to `phase`. Phases do not nest.
  class Scope {
   public:
    Scope(Phases& phases, Phase phase) : phases_(phases), phase_(phase), begin_(Clock::now()) {}
    ~Scope() { phases_.add({phase_, begin_, Clock::now()}); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Phases& phases_;
    Phase phase_;
    Clock::time_point begin_;
  };

  Scope scope(Phase phase) { return Scope(*this, phase); }
  void add(const Event& event);

  const PhaseSeconds& seconds() const { return seconds_; }

  // While on, events are kept until taken.
  void keep_events(bool keep) { keep_ = keep; }
  std::vector<Event> take_events() { return std::exchange(events_, {}); }

 private:
  PhaseSeconds seconds_{};
  std::vector<Event> events_;
  bool keep_ = false;
};

// The phase that took longest of those between two readings, and its share of all phases' time.
struct SlowestPhase {
  Phase phase = Phase::forward;
  double share = 0.0;  // 0 if no time passed
};
SlowestPhase slowest_phase(const PhaseSeconds& now, const PhaseSeconds& before);

}  // namespace scalevec
