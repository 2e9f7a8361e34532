#include "experiments/train/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <span>

#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

std::string clock_text(double seconds) {
  const auto s = static_cast<long long>(seconds + 0.5);
  return s >= 3600 ? printed("%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60)
                   : printed("%lld:%02lld", s / 60, s % 60);
}

int terminal_columns() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

bool utf8_locale() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value && *value) {
      const std::string text = value;
      return text.find("UTF-8") != std::string::npos || text.find("utf8") != std::string::npos;
    }
  }
  return false;
}

// The last `count` of a history, evenly thinned where it holds more.
std::vector<double> fitted(const History& history, std::size_t count) {
  const std::vector<double>& all = history.values();
  if (all.size() <= count) return all;
  std::vector<double> out;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t begin = i * all.size() / count, end = (i + 1) * all.size() / count;
    out.push_back(history.summary(std::span(all).subspan(begin, end - begin)));
  }
  return out;
}

}  // namespace

std::string loss_text(double loss) { return printed(std::abs(loss) < 0.01 && loss != 0.0 ? "%.3e" : "%.4f", loss); }

std::string progress_line(const ProgressView& view) {
  const std::string rate =
      view.tokens_per_second > 0 ? printed("  %.1fk tokens/s", view.tokens_per_second / 1000.0) : "";
  return "step " + std::to_string(view.step) + "/" + std::to_string(view.steps) + "  loss " + loss_text(view.loss) +
         printed("  lr %.3g", view.lr) + rate + "  " + clock_text(view.seconds_left) + " left";
}

std::string progress_screen(const ProgressView& view, const History& loss, const History& grad_norm, int columns,
                            bool utf8) {
  const auto width = static_cast<std::size_t>(std::max(columns, 1));
  const std::string first = progress_line(view).substr(0, width);
  const std::string before_loss = "loss ", before_norm = "  grad norm ", norm = printed(" %.3g", view.grad_norm);
  std::string slowest;
  if (view.slowest.share > 0.0)
    slowest = "  " + std::string(to_string(view.slowest.phase)) + printed(" %.0f %%", 100.0 * view.slowest.share);
  const std::size_t words = before_loss.size() + before_norm.size() + norm.size() + slowest.size();
  if (width < words + 8) return first;
  const std::size_t each = (width - words) / 2;
  return first + "\n" + before_loss + sparkline(fitted(loss, each), utf8) + before_norm +
         sparkline(fitted(grad_norm, each), utf8) + norm + slowest;
}

Progress::Progress(std::int64_t first_step, std::int64_t steps, bool quiet)
    : first_step_(first_step),
      steps_(steps),
      terminal_(::isatty(STDOUT_FILENO)),
      utf8_(utf8_locale()),
      quiet_(quiet),
      start_(Clock::now()),
      last_(start_) {}

void Progress::count(std::int64_t tokens, double seconds) {
  tokens_ += static_cast<double>(tokens);
  seconds_ += seconds;
}

void Progress::update(std::int64_t step, double loss, double lr, double grad_norm, const PhaseSeconds& phases) {
  if (quiet_) return;
  loss_.add(loss);
  grad_norm_.add(grad_norm);
  const auto now = Clock::now();
  const double pause = terminal_ ? 0.2 : 10.0;
  const bool last = step == steps_;
  if (!last && std::chrono::duration<double>(now - last_).count() < pause) return;
  last_ = now;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double tokens_per_second = seconds_ > 0.0 ? tokens_ / seconds_ : 0.0;
  tokens_ = seconds_ = 0.0;
  ProgressView view{step, steps_, loss, lr, grad_norm, tokens_per_second, 0.0, slowest_phase(phases, phases_before_)};
  view.seconds_left = elapsed / static_cast<double>(step - first_step_) * static_cast<double>(steps_ - step);
  phases_before_ = phases;
  if (!terminal_) {
    std::printf("%s\n", progress_line(view).c_str());
  } else {
    std::string screen = progress_screen(view, loss_, grad_norm_, terminal_columns(), utf8_);
    const std::size_t break_at = screen.find('\n');
    if (break_at != std::string::npos) screen.replace(break_at, 1, "\033[K\n");
    std::printf("\r%s%s\033[J", open_lines_ == 2 ? "\033[1A" : "", screen.c_str());
    open_lines_ = break_at == std::string::npos ? 1 : 2;
  }
  std::fflush(stdout);
}

void Progress::note(const std::string& line) {
  if (quiet_) return;
  if (open_lines_ > 0) std::printf("\r%s\033[J", open_lines_ == 2 ? "\033[1A" : "");
  open_lines_ = 0;
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

}  // namespace scalevec::experiments
