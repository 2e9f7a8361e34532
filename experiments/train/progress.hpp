#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace scalevec {

// "2.3456", "0.0123", and "1.234e-05" below 0.01, where four places would show little.
std::string loss_text(double loss);

// Tells a person how a run goes: one line that is rewritten on a terminal, and elsewhere a plain line at most every ten
// seconds.
class Progress {
 public:
  Progress(std::int64_t first_step, std::int64_t steps);

  void update(std::int64_t step, double loss, double lr, double tokens_per_second);
  void note(const std::string& line);  // a line of its own

 private:
  using Clock = std::chrono::steady_clock;
  std::int64_t first_step_, steps_;
  bool terminal_;
  bool open_line_ = false;
  Clock::time_point start_, last_;
};

}  // namespace scalevec
