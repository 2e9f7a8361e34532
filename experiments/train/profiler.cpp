#include "experiments/train/profiler.hpp"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "experiments/errors.hpp"

namespace scalevec::experiments {
namespace {

namespace profiler = torch::autograd::profiler;
using torch::profiler::impl::ActivityType;

std::set<ActivityType> activities() {
  std::set<ActivityType> all{ActivityType::CPU};
  if (at::hasCUDA()) all.insert(ActivityType::CUDA);
  return all;
}

}  // namespace

struct StepProfiler::Recording {
  // A span in the trace, from construction to destruction.
  struct Annotation : at::RecordFunction {
    explicit Annotation(const std::string& name) : at::RecordFunction(at::RecordScope::USER_SCOPE) { before(name); }
  };

  Recording() {
    // Its library says on standard error that there is no GPU.
    ::setenv("KINETO_LOG_LEVEL", "99", 0);
    const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO);
    profiler::prepareProfiler(config, activities());
    profiler::enableProfiler(
        config, activities(),
        {at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION, at::RecordScope::USER_SCOPE});
  }
  ~Recording() {
    phase.reset();
    step.reset();
    if (!stopped) profiler::disableProfiler();
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  void save(const std::filesystem::path& file) {
    stopped = true;
    profiler::disableProfiler()->save(file.string());
    if (!std::filesystem::exists(file)) throw RunError(file.string() + ": cannot be written");
  }

  std::optional<Annotation> step, phase;
  Phases::Clock::time_point begin;
  bool stopped = false;
};

StepProfiler::StepProfiler(std::int64_t steps, std::int64_t steps_left, Phases& phases, std::filesystem::path file)
    : phases_(phases),
      file_(std::move(file)),
      skipped_(std::min<std::int64_t>(2, std::max<std::int64_t>(0, steps_left - steps))),
      wanted_(steps) {}

StepProfiler::~StepProfiler() { phases_.set_watcher({}); }

void StepProfiler::begin_step(std::int64_t step) {
  if (wanted_ == 0 || skipped_-- > 0) return;
  if (!recording_) {
    recording_ = std::make_unique<Recording>();
    first_ = step;
    phase_seconds_ = phases_.seconds();
    // A run that stops in the middle of a step writes its checkpoint from another thread.
    phases_.set_watcher([this, thread = std::this_thread::get_id()](Phase phase, bool begins) {
      if (std::this_thread::get_id() != thread) return;
      recording_->phase.reset();
      if (begins) recording_->phase.emplace(std::string(to_string(phase)));
    });
  }
  last_ = step;
  recording_->step.emplace("step " + std::to_string(step));
  recording_->begin = Phases::Clock::now();
}

bool StepProfiler::end_step() {
  if (!recording_) return false;
  seconds_ += std::chrono::duration<double>(Phases::Clock::now() - recording_->begin).count();
  recording_->step.reset();
  return --wanted_ == 0 && finish();
}

bool StepProfiler::finish() {
  if (!recording_) return false;
  wanted_ = 0;
  phases_.set_watcher({});
  for (std::size_t i = 0; i < kPhases; ++i) phase_seconds_[i] = phases_.seconds()[i] - phase_seconds_[i];
  recording_->step.reset();
  recording_->save(file_);
  recording_.reset();
  return true;
}

std::string StepProfiler::words() const {
  std::string text = "steps " + std::to_string(first_) + " to " + std::to_string(last_);
  for (std::size_t i = 0; i < kPhases; ++i)
    if (const auto percent = std::lround(100.0 * phase_seconds_[i] / seconds_); percent > 0)
      text += ", " + std::string(to_string(static_cast<Phase>(i))) + " " + std::to_string(percent) + " %";
  return text + ": " + file_.string();
}

}  // namespace scalevec::experiments
