#include "scalevec/experiments/train/progress.hpp"

#include <unistd.h>

#include <cmath>
#include <cstdio>

namespace scalevec {
namespace {

std::string clock_text(double seconds) {
  const auto s = static_cast<long long>(seconds + 0.5);
  char text[32];
  if (s >= 3600)
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
  else
    std::snprintf(text, sizeof text, "%lld:%02lld", s / 60, s % 60);
  return text;
}

}  // namespace

Progress::Progress(std::int64_t first_step, std::int64_t steps)
    : first_step_(first_step), steps_(steps), terminal_(::isatty(STDOUT_FILENO)), start_(Clock::now()), last_(start_) {}

std::string loss_text(double loss) {
  char text[32];
  std::snprintf(text, sizeof text, std::abs(loss) < 0.01 && loss != 0.0 ? "%.3e" : "%.4f", loss);
  return text;
}

void Progress::update(std::int64_t step, double loss, double lr, double tokens_per_second) {
  const auto now = Clock::now();
  const double pause = terminal_ ? 0.2 : 10.0;
  const bool last = step == steps_;
  if (!last && std::chrono::duration<double>(now - last_).count() < pause) return;
  last_ = now;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double left = elapsed / static_cast<double>(step - first_step_) * static_cast<double>(steps_ - step);
  char rate[48] = "";
  if (tokens_per_second > 0) std::snprintf(rate, sizeof rate, "  %.1fk tokens/s", tokens_per_second / 1000.0);
  char line[200];
  std::snprintf(line, sizeof line, "step %lld/%lld  loss %s  lr %.3g%s  %s left", static_cast<long long>(step),
                static_cast<long long>(steps_), loss_text(loss).c_str(), lr, rate, clock_text(left).c_str());
  std::printf(terminal_ ? "\r\033[K%s" : "%s\n", line);
  open_line_ = terminal_;
  std::fflush(stdout);
}

void Progress::note(const std::string& line) {
  std::printf("%s%s\n", open_line_ ? "\r\033[K" : "", line.c_str());
  open_line_ = false;
  std::fflush(stdout);
}

}  // namespace scalevec
