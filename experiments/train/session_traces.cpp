#include <stdexcept>
#include <utility>

#include "experiments/train/session.hpp"
#include "optim/step_hooks.hpp"

// The traces of a session's steps: what the optimizer, the model and the gradients say, at once or when the device is
// next waited for.
namespace scalevec::experiments {

models::ModelTraces& Session::model_traces() {
  if (!model_traces_) model_traces_ = std::make_unique<models::ModelTraces>(*model_);
  return *model_traces_;
}

std::vector<StepTraces> Session::take_traces() {
  std::vector<StepTraces> out;
  if (pending_.empty()) return out;
  const auto timed = phases_.scope(Phase::traces);
  const std::vector<TracedStep> steps = StepHooks(*optimizer_).take_traces();
  const std::vector<PendingTraces> pending = std::exchange(pending_, {});
  // A step that diverged is not pending, and has no traces.
  if (steps.size() < pending.size()) throw std::logic_error("the optimizer has not the traces of every traced step");
  for (std::size_t i = 0; i < pending.size(); ++i) {
    StepTraces& traces = out.emplace_back();
    traces = {pending[i].step, run_rows(steps[i].params), run_rows(steps[i].groups)};
    if (window_) window_->report(pending[i].window, traces.params, traces.groups);
    model_traces().load(pending[i].model);
    for (RunTraceRow& row : traces.params) model_traces().merge_into(row);
    add_max_logits(traces.params, pending[i].max_logits);
  }
  return out;
}

void Session::add_max_logits(std::vector<RunTraceRow>& rows, const std::vector<torch::Tensor>& logits) const {
  for (const NamedParam& p : params_) {
    if (p.role.kind != ParamKind::matrix || p.role.site != "attn.q" || p.role.layer < 0) continue;
    const auto layer = static_cast<std::size_t>(p.role.layer);
    if (layer >= logits.size() || !logits[layer].defined()) continue;
    for (RunTraceRow& row : rows)
      if (row.name == p.name) row.max_logit = logits[layer].max().item<double>();
  }
}

void Session::add_traces(StepResult& result, bool trace, bool reports) {
  const auto timed = phases_.scope(Phase::traces);
  if (window_) window_->add();
  const GradientWindow::Taken taken = window_ && trace ? window_->take() : GradientWindow::Taken{};
  if (trace && on_device_ && StepHooks(*optimizer_).steps_on_device()) {
    pending_.push_back({steps_done_ + 1, std::exchange(snapshot_, {}), taken, {}});
    for (const torch::Tensor& layer : train_step_->max_logits())
      pending_.back().max_logits.push_back(layer.defined() ? layer.clone() : layer);
  } else if (trace) {
    result.params = run_rows(optimizer_->traces());
    result.groups = run_rows(optimizer_->group_traces());
    if (window_) window_->report(taken, result.params, result.groups);
    if (on_device_) model_traces().load(std::exchange(snapshot_, {}));
    if (reports)
      for (RunTraceRow& row : result.params) model_traces_->merge_into(row);
    add_max_logits(result.params, train_step_->max_logits());
  }
}

void Session::add_pending_traces(StepResult& result) {
  result.earlier = take_traces();
  if (StepTraces& last = result.earlier.back(); last.step == steps_done_) {
    result.params = std::move(last.params);
    result.groups = std::move(last.groups);
    result.earlier.pop_back();
  }
}

}  // namespace scalevec::experiments
