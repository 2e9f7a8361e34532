#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "experiments/train/phases.hpp"
#include "experiments/train/sparkline.hpp"

namespace scalevec::experiments {

// A loss as text: "2.3456", "0.0123", and "1.234e-05" below 0.01.
std::string loss_text(double loss);

// The numbers that are shown of a running training.
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
// step: "loss █▅▃▂▁  grad norm ▃█▂▁▁ 0.52  backward 54 %". The sparklines use the space that is left, up to the size of
// the histories. If there is no space for four characters of each, the second line and the line break are left out.
std::string progress_screen(const ProgressView& view, const History& loss, const History& grad_norm, int columns,
                            bool utf8);

// Shows the progress of a run: on a terminal two lines that are redrawn, elsewhere a plain line at most every ten
// seconds.
class Progress {
 public:
  // `quiet`: prints nothing.
  Progress(std::int64_t first_step, std::int64_t steps, bool quiet = false);

  // Adds the tokens and seconds of a step. The rate that is shown is that over all steps since the last drawing.
  void count(std::int64_t tokens, double seconds);
  void update(std::int64_t step, double loss, double lr, double grad_norm, const PhaseSeconds& phases);
  void note(const std::string& line);  // prints a separate line

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

}  // namespace scalevec::experiments
