#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "scalevec/experiments/train/phases.hpp"
#include "scalevec/experiments/train/sparkline.hpp"

namespace scalevec {

// "2.3456", "0.0123", and "1.234e-05" below 0.01, where four places would show little.
std::string loss_text(double loss);

// What a person sees of a running training, without the terminal.
struct ProgressView {
  std::int64_t step = 0, steps = 0;
  double loss = 0.0, lr = 0.0, grad_norm = 0.0;
  double tokens_per_second = 0.0;  // 0: the model has no tokens
  double seconds_left = 0.0;
  SlowestPhase slowest;
};

// "step 120/500  loss 1.2345  lr 0.003  12.3k tokens/s  1:23 left".
std::string progress_line(const ProgressView& view);

// For a terminal: progress_line() cut to `columns`, a line break, and the two sparklines with the slowest part of the
// step: "loss █▅▃▂▁  grad norm ▃█▂▁▁ 0.52  backward 54 %". The sparklines take the room that is left, up to what the
// histories hold; a line that has no room for four characters of each is left out, with the line break.
std::string progress_screen(const ProgressView& view, const History& loss, const History& grad_norm, int columns,
                            bool utf8);

// Tells a person how a run goes: two lines that are rewritten on a terminal, and elsewhere a plain line at most every
// ten seconds.
class Progress {
 public:
  // `quiet`: says nothing at all.
  Progress(std::int64_t first_step, std::int64_t steps, bool quiet = false);

  // A step's tokens and seconds: what is shown is the rate over all steps since the last drawing.
  void count(std::int64_t tokens, double seconds);
  void update(std::int64_t step, double loss, double lr, double grad_norm, const PhaseSeconds& phases);
  void note(const std::string& line);  // a line of its own

 private:
  using Clock = std::chrono::steady_clock;
  std::int64_t first_step_, steps_;
  bool terminal_, utf8_, quiet_;
  int open_lines_ = 0;  // on the terminal, to be rewritten
  Clock::time_point start_, last_;
  History loss_{128, History::Keep::mean};
  History grad_norm_{128, History::Keep::largest};  // so that a spike stays in sight
  PhaseSeconds phases_before_{};
  double tokens_ = 0.0, seconds_ = 0.0;  // since the last drawing
};

}  // namespace scalevec
