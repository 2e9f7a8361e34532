#include "experiments/train/profiler.hpp"

#include <ATen/record_function.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <utility>

#include "experiments/system/file_io.hpp"

namespace scalevec::experiments {
namespace {

std::mutex g_mutex;
std::vector<OperatorEvent> g_operators;  // guarded by g_mutex: LibTorch's callbacks are plain functions

struct Begun : at::ObserverContext {
  Phases::Clock::time_point begin = Phases::Clock::now();
};

std::unique_ptr<at::ObserverContext> operator_begins(const at::RecordFunction&) { return std::make_unique<Begun>(); }

void operator_ends(const at::RecordFunction& function, at::ObserverContext* context) {
  const auto end = Phases::Clock::now();
  const std::lock_guard lock(g_mutex);
  // The thread it began on is what the record knows; a backward operator begins and ends on one.
  g_operators.push_back({function.name(), function.threadId(), static_cast<const Begun*>(context)->begin, end});
}

}  // namespace

// Records LibTorch's operators, of all threads, while it lives. One at a time.
class OperatorRecorder {
 public:
  OperatorRecorder()
      : handle_(at::addGlobalCallback(at::RecordFunctionCallback(operator_begins, operator_ends)
                                          .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}))) {}
  ~OperatorRecorder() { at::removeCallback(handle_); }
  OperatorRecorder(const OperatorRecorder&) = delete;
  OperatorRecorder& operator=(const OperatorRecorder&) = delete;

  std::vector<OperatorEvent> take() {
    const std::lock_guard lock(g_mutex);
    return std::exchange(g_operators, {});
  }

 private:
  at::CallbackHandle handle_;
};

StepProfiler::StepProfiler(std::int64_t steps, std::int64_t steps_left, Phases& phases, std::filesystem::path file)
    : phases_(phases),
      file_(std::move(file)),
      passed_over_(std::min<std::int64_t>(2, std::max<std::int64_t>(0, steps_left - steps))),
      wanted_(steps) {}

StepProfiler::~StepProfiler() { phases_.keep_events(false); }

void StepProfiler::begin_step() {
  if (wanted_ == 0) return;
  if (passed_over_ > 0) {
    --passed_over_;
    return;
  }
  if (!recorder_) {
    recorder_ = std::make_unique<OperatorRecorder>();
    phases_.keep_events(true);
  }
  begin_ = Phases::Clock::now();
}

bool StepProfiler::end_step(std::int64_t step) {
  if (!recorder_) return false;
  steps_.push_back({step, begin_, Phases::Clock::now()});
  return --wanted_ == 0 && finish();
}

bool StepProfiler::finish() {
  if (steps_.empty() || written_) return false;
  written_ = true;
  wanted_ = 0;
  const std::vector<OperatorEvent> operators = recorder_->take();
  recorder_.reset();
  phase_events_ = phases_.take_events();
  phases_.keep_events(false);
  write_file(file_, chrome_trace(steps_, phase_events_, operators));
  return true;
}

std::string StepProfiler::words() const {
  PhaseSeconds seconds{};
  double total = 0.0;
  for (const Phases::Event& e : phase_events_)
    seconds[static_cast<std::size_t>(e.phase)] += std::chrono::duration<double>(e.end - e.begin).count();
  for (const StepEvent& s : steps_) total += std::chrono::duration<double>(s.end - s.begin).count();
  std::string text = "steps " + std::to_string(steps_.front().step) + " to " + std::to_string(steps_.back().step);
  for (std::size_t i = 0; i < kPhases; ++i)
    if (const auto percent = std::lround(100.0 * seconds[i] / total); percent > 0)
      text += ", " + std::string(to_string(static_cast<Phase>(i))) + " " + std::to_string(percent) + " %";
  return text + ": " + file_.string();
}

}  // namespace scalevec::experiments
