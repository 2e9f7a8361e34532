#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>

#include "optim/cuda/cuda_step.hpp"
#include "optim/optimizer_step.hpp"
#include "optim/parallel/parallel.hpp"
#include "optim/step_shard.hpp"

// The passes of elementwise methods beside their step: sums that it needs first, and estimates of curvature.
namespace scalevec {

using torch::Tensor;

void Optimizer::plan_measures(const std::vector<Slot>& slots, double clip_factor, const std::vector<kernels::Job>& jobs,
                              const std::vector<size_t>& members, Measures& measures) const {
  // The same on every rank.
  if (std::none_of(slots.begin(), slots.end(), [](const Slot& s) { return s.measures() && !s.on_device; })) return;
  for (size_t j = 0; j < jobs.size(); ++j) {
    const Slot& s = slots[members[j]];
    if (!s.measures()) continue;
    measures.jobs.push_back(jobs[j]);
    measures.jobs.back().modifier = nullptr;
    measures.jobs.back().rule =
        s.elementwise().measure(s.options(), decay_of(s.options(), clip_factor), s.step(), s.fresh, s.numbers.data());
    measures.members.push_back(members[j]);
    measures.places.push_back(j);
  }
  measures.sums.resize(measures.jobs.size());
  measures.values.resize(2 * slots.size());
  measures.sorted.resize(slots.size());
  measures.plan.emplace(measures.jobs, true);
}

// Runs the first passes and gives the steps the constants that follow from their sums. A group's sum adds its tensors'
// in sorted order, so that it depends on neither the order of parameters nor who owns them.
void Optimizer::run_measures(std::vector<Slot>& slots, double clip_factor, Measures& measures,
                             std::vector<kernels::Job>& jobs) const {
  if (!measures.plan) return;
  measures.plan->run(measures.sums, parallel_for);
  for (size_t j = 0; j < measures.jobs.size(); ++j) {
    measures.values[2 * measures.members[j]] = measures.sums[j].grad_update;
    measures.values[2 * measures.members[j] + 1] = measures.sums[j].inv_denom;
  }
  if (shard_) shard_->sum(measures.values);
  const MethodOptions* group = nullptr;
  PassSums of_group{};
  for (size_t j = 0; j < measures.jobs.size(); ++j) {
    Slot& s = slots[measures.members[j]];
    PassSums sums{measures.values[2 * measures.members[j]], measures.values[2 * measures.members[j] + 1]};
    if (s.elementwise().sums_of_group()) {
      for (size_t which = 0; group != s.entry->options && which < 2; ++which) {
        size_t count = 0;
        for (size_t k = 0; k < slots.size(); ++k)
          if (slots[k].entry->options == s.entry->options) measures.sorted[count++] = measures.values[2 * k + which];
        std::sort(measures.sorted.begin(), measures.sorted.begin() + static_cast<std::ptrdiff_t>(count));
        of_group[which] = 0.0;
        for (size_t i = 0; i < count; ++i) of_group[which] += measures.sorted[i];
      }
      group = s.entry->options;
      sums = of_group;
    }
    s.elementwise().advance(s.options(), s.step(), s.fresh, &sums, s.numbers.data());
    jobs[measures.places[j]].rule =
        s.elementwise().rule(s.options(), decay_of(s.options(), clip_factor), s.step(), s.fresh, s.numbers.data());
  }
}

std::int64_t Optimizer::hessian_every() const {
  std::int64_t least = 0;
  for (const auto& group : param_groups_) {
    const MethodOptions& options = method_options(group);
    const auto* method = dynamic_cast<const ElementwiseMethod*>(&options.implementation());
    const std::int64_t every = method ? method->hessian_every(options) : 0;
    if (every > 0 && (least == 0 || every < least)) least = every;
  }
  return least;
}

void Optimizer::update_hessian(double samples, const LossClosure& closure) {
  if (!(std::isfinite(samples) && samples > 0.0))
    throw std::invalid_argument("update_hessian(): samples: got " + std::to_string(samples) + "; allowed: above 0");
  if (closure) {
    const torch::AutoGradMode with_gradients(true);
    closure();
  }
  const torch::NoGradGuard no_grad;
  check_layout();
  std::vector<Slot> slots;
  std::vector<Slot> all = slots_with_gradients();
  slots.reserve(all.size());
  for (Slot& s : all) {
    if (!s.entry->elementwise || s.elementwise().hessian_every(s.options()) == 0) continue;
    const bool copied = s.grad == &s.grad_copy;
    slots.push_back(std::move(s));
    if (copied) slots.back().grad = &slots.back().grad_copy;
  }
  // As in a step: a device that has all of them is not asked.
  const bool checks = check_finite_ && !std::all_of(slots.begin(), slots.end(), [](auto& s) { return s.on_device; });
  for (const Slot& s : slots)
    if (checks && !torch::isfinite(*s.grad).all().item<bool>()) throw NonFiniteGradient(s.entry->name);
  NewStates made(*this);
  find_states(slots, made);
  std::vector<kernels::Job> jobs;
  for (Slot& s : slots) {
    if (!s.state || s.on_device) continue;
    const kernels::Rule rule = s.elementwise().curvature(s.options(), samples);
    kernels::Job& job = jobs.emplace_back(kernels::Job{rule, s.dtype, s.data(), s.grad_data, {}, s.work().numel()});
    size_t next = 0;
    for (size_t k = 0; k < kMaxBuffers; ++k)
      if (rule.loops->held >> k & 1) job.state[k] = s.state->buffers[next++].data_ptr();
  }
  const std::vector<cuda::CudaEntry> device = device_entries(slots);
  if (!device.empty()) device_->curvature(device, samples, check_finite_ && !checks);
  kernels::StepPlan(jobs, false).run({}, parallel_for);
  made.commit();
  for (const Slot& s : slots)
    if (s.state) s.entry->fitted = true;
}

}  // namespace scalevec
