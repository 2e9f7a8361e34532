#pragma once

#include <torch/types.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "optim/optimizer.hpp"
#include "optim/optimizer_parts.hpp"

// What a step of the optimizer and the passes before it work on. Not installed.
namespace scalevec {

struct Optimizer::Slot {
  Entry* entry;
  torch::Tensor work_copy;    // where the kernel cannot write the parameter itself; undefined elsewhere
  torch::Tensor grad_copy;    // where the gradient is laid out otherwise; undefined elsewhere
  const torch::Tensor* grad;  // laid out like work(): the parameter's or grad_copy
  const void* grad_data = nullptr;
  kernels::Dtype dtype;
  bool on_device = false;                     // stepped by device_
  ParamState* state = nullptr;                // null: another process updates the parameter
  bool fresh = false;                         // buffers of the state begin at this step, which is not its first
  std::array<double, kMaxScalars> numbers{};  // the method's, of the last step and then of this one
  double* kept_numbers = nullptr;             // null: it has none

  const MethodOptions& options() const { return *entry->options; }
  // What the kernel writes: dense, on the CPU or on_device.
  const torch::Tensor& work() const { return work_copy.defined() ? work_copy : entry->param; }
  void* data() const { return work_copy.defined() ? work_copy.data_ptr() : entry->data; }
  std::int64_t step() const { return state->step + 1; }
  // The method's: behind them lie the held norms and the low part, if any.
  size_t own_buffers() const {
    return state->buffers.size() - (entry->rounding == kernels::Rounding::compensated) - entry->options->hold_norm();
  }
  // Has the state say what the optimizer does beside the method.
  void note_step() const {
    if (entry->rounding != kernels::Rounding::nearest) state->store = entry->store(*state);
    if (entry->modified) state->modifier = entry->modifier(*state);
  }
  const kernels::Modifier* modifier() const { return entry->modified ? &state->modifier : nullptr; }
  void read_numbers() {
    kept_numbers = state->buffer(kNumbers).data_ptr<double>();
    std::copy_n(kept_numbers, elementwise().numbers(), numbers.begin());
  }
  void keep_numbers() const {
    if (kept_numbers) std::copy_n(numbers.begin(), elementwise().numbers(), kept_numbers);
  }
  const ElementwiseMethod& elementwise() const { return *entry->elementwise; }
  bool measures() const { return entry->elementwise && elementwise().measures(); }
  // What autograd compares with the version it saw, so that a graph from before the step is refused.
  void bump_version() const {
    if (entry->has_version) entry->param.unsafeGetTensorImpl()->bump_version();
  }
};

// States that a step makes or converts: the optimizer has them once the step is sure.
struct Optimizer::NewStates {
  explicit NewStates(Optimizer& optimizer) : state(optimizer.state_) {}
  NewStates(const NewStates&) = delete;
  NewStates& operator=(const NewStates&) = delete;
  ~NewStates() {
    for (const auto& [key, made] : list)
      if (const auto it = state.find(key); it != state.end() && !it->second) state.erase(it);
  }

  ParamState* add(void* key, std::unique_ptr<ParamState> made) {
    list.emplace_back(key, std::move(made));
    state[key];  // so that commit() allocates nothing
    return list.back().second.get();
  }
  void commit() {
    for (auto& [key, made] : list) state.find(key)->second = std::move(made);
    list.clear();
  }

  decltype(Optimizer::state_)& state;
  std::vector<std::pair<void*, std::unique_ptr<ParamState>>> list;
};

// The passes that come before the step, of methods that need sums of theirs.
struct Optimizer::Measures {
  std::vector<kernels::Job> jobs;
  std::vector<size_t> members, places;  // the slot of each, and the place of its step among the step's jobs
  std::vector<StepSums> sums;
  std::vector<double> values, sorted;  // two for each slot, in the order of the slots; room to sort one of them
  std::optional<kernels::StepPlan> plan;
};

}  // namespace scalevec
