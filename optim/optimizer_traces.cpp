#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>

#include "optim/cuda/cuda_step.hpp"
#include "optim/optimizer_step.hpp"
#include "optim/step_shard.hpp"

// The sums of a step: of other processes, of a device that is not waited for, and as traces.
namespace scalevec {

using torch::Tensor;

// Sums of others' parameters are zero here, so that each total is its owner's to the bit.
void Optimizer::share_step(const std::vector<Slot>& slots, std::vector<StepSums>& sums) {
  std::vector<std::string> names;
  std::vector<Tensor> params;
  for (const Slot& s : slots) {
    names.push_back(s.entry->name);
    params.push_back(s.entry->param.detach());
  }
  shard_->share(names, params);
  for (const Slot& s : slots)
    if (!s.state) s.bump_version();
  if (sums.empty()) return;
  constexpr double StepSums::*kFields[] = {&StepSums::grad_sq,      &StepSums::param_sq,    &StepSums::update_sq,
                                           &StepSums::param_update, &StepSums::grad_update, &StepSums::inv_denom,
                                           &StepSums::rounding_sq,  &StepSums::stalled,     &StepSums::stalled_of};
  std::vector<double> flat;
  for (const StepSums& s : sums) {
    for (const auto field : kFields) flat.push_back(s.*field);
    flat.push_back(static_cast<double>(s.count));
  }
  shard_->sum(flat);
  const double* value = flat.data();
  for (StepSums& s : sums) {
    for (const auto field : kFields) s.*field = *value++;
    s.count = static_cast<std::int64_t>(*value++);
  }
}

// Rows with everything but numbers, beside the last step's, so that record_traces() allocates nothing.
void Optimizer::prepare_traces(const std::vector<Slot>& slots) {
  trace_inputs_.clear();
  trace_inputs_.reserve(slots.size());
  for (const Slot& s : slots) {
    const Entry& e = *s.entry;
    trace_inputs_.push_back({e.name, e.group, e.options->method(), e.options->lr(), e.method->adaptive(), {}});
  }
  next_traces_.resize(trace_inputs_.size());
  for (size_t k = 0; k < trace_inputs_.size(); ++k) name_trace_row(trace_inputs_[k], next_traces_[k]);
  next_group_traces_.prepare(trace_inputs_);
}

void Optimizer::record_traces(const std::vector<StepSums>& sums) {
  for (size_t k = 0; k < sums.size(); ++k) {
    trace_inputs_[k].sums = sums[k];
    fill_trace_row(trace_inputs_[k], next_traces_[k]);
  }
  next_group_traces_.fill(trace_inputs_);
  std::swap(traces_, next_traces_);
  std::swap(group_traces_, next_group_traces_.rows);
}

// Before a device's launch with so many parameters: sums that it would take the place of are read.
void Optimizer::make_room(size_t entries) {
  const auto waits = [&](const DeferredTraces& d) {
    return d.sums.empty() && (d.ago + 1 >= cuda::kSumsKept || d.inputs.size() != entries);
  };
  if (std::any_of(deferred_.begin(), deferred_.end(), waits)) read_sums();
}

// A launch of the device's, with the inputs of prepare_traces() if its sums are read later.
void Optimizer::note_launch(bool traced) {
  for (DeferredTraces& d : deferred_) ++d.ago;
  if (!traced) return;
  DeferredTraces& d = deferred_.emplace_back();
  // The names may be gone when it is read.
  d.names.reserve(3 * trace_inputs_.size());
  d.inputs = trace_inputs_;
  for (TraceInput& input : d.inputs)
    for (std::string_view* name : {&input.name, &input.group, &input.method}) {
      d.names.emplace_back(*name);
      *name = d.names.back();
    }
}

void Optimizer::read_sums() {
  for (DeferredTraces& d : deferred_)
    if (d.sums.empty()) d.sums = device_->step_sums(d.ago);
}

std::vector<TracedStep> Optimizer::take_traces() {
  read_sums();
  std::vector<TracedStep> out;
  for (DeferredTraces& d : std::exchange(deferred_, {})) {
    for (size_t k = 0; k < d.inputs.size(); ++k) d.inputs[k].sums = d.sums[k];
    TracedStep& step = out.emplace_back();
    for (const TraceInput& input : d.inputs) step.params.push_back(trace_row(input));
    step.groups = trace_rows_by_group(d.inputs);
  }
  return out;
}

}  // namespace scalevec
