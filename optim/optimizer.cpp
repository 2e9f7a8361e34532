#include "scalevec/optim/optimizer.hpp"

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include <c10/core/DeviceGuard.h>

#include "scalevec/optim/cuda/cuda_step.hpp"
#include "scalevec/optim/method.hpp"
#include "scalevec/optim/parallel/parallel.hpp"

namespace scalevec {
namespace {

using torch::Tensor;

// Matrices below this many elements are worked on side by side, larger ones one after the other with all threads on
// each.
constexpr std::int64_t kSmallMatrix = 1 << 18;
// Elements whose updates are in memory at a time, unless one matrix has more.
constexpr std::int64_t kBatch = 1 << 22;

// Jobs' sums go to the slots they belong to.
void run_jobs(const std::vector<kernels::Job>& jobs, const std::vector<size_t>& members, std::vector<StepSums>& sums) {
  std::vector<StepSums> own(sums.empty() ? 0 : jobs.size());
  kernels::step(jobs, own, kernels::parallel_for);
  for (size_t i = 0; i < own.size(); ++i) sums[members[i]] = own[i];
}

}  // namespace

struct Optimizer::Slot {
  const Entry* entry;
  Tensor work;  // what the kernel writes: the parameter itself where its memory is dense, on the CPU or on_device
  Tensor grad;  // laid out like `work`
  kernels::Dtype dtype;
  bool on_device = false;  // stepped by device_

  const MethodOptions& options() const { return *entry->options; }
};

bool Optimizer::on_device(const Tensor& param, const MethodOptions& options) {
  if (!device_ && cuda::handles(param, options)) {
    const c10::DeviceGuard guard(param.device());
    device_ = std::make_shared<cuda::CudaStep>();
  }
  return device_ && param.is_non_overlapping_and_dense() && device_->handles(param, options);
}

std::vector<Optimizer::Slot> Optimizer::slots_with_gradients() {
  std::vector<Slot> slots;
  slots.reserve(entries_.size());
  std::optional<torch::Device> stepping;  // the first parameter's that steps on a device; others' there step on the CPU
  for (const Entry& e : entries_) {
    const Tensor& given = e.param.grad();
    if (!given.defined()) continue;
    if (given.is_sparse())
      throw std::invalid_argument(e.name + ": its gradient is sparse; only dense gradients are supported");
    if (given.is_complex())
      throw std::invalid_argument(e.name + ": its gradient is complex; only real gradients are supported");
    const bool device = on_device(e.param, *e.options) && stepping.value_or(e.param.device()) == e.param.device();
    if (device) stepping = e.param.device();
    Slot slot{&e, e.param, given, kernel_dtype(e.param, e.name), device};
    Tensor& work = slot.work;
    if (!device &&
        (!work.device().is_cpu() || !work.is_non_overlapping_and_dense() || (e.matrix && !work.is_contiguous())))
      work = work.cpu().contiguous();
    if (given.device() != work.device() || given.strides() != work.strides() ||
        given.scalar_type() != work.scalar_type()) {
      slot.grad = at::empty_strided(work.sizes(), work.strides(), work.options().requires_grad(false));
      slot.grad.copy_(given);
    }
    slots.push_back(std::move(slot));
  }
  return slots;
}

void Optimizer::clip_and_check(const std::vector<Slot>& slots) {
  grad_norm_ = kNoTrace;
  clip_factor_ = 1.0;
  norm_on_device_ =
      !shard_ && !slots.empty() && std::all_of(slots.begin(), slots.end(), [](const Slot& s) { return s.on_device; });
  if (norm_on_device_) return;
  if (!check_finite_ && max_norm_ <= 0.0) return;
  std::vector<kernels::GradView> views;
  for (const Slot& s : slots)
    views.push_back({s.dtype, s.grad.data_ptr(), s.on_device || !owned(s.entry->name) ? 0 : s.grad.numel()});
  std::vector<double> norms = kernels::squared_norms(views, kernels::parallel_for);
  // The one norm of a mixture is known here, so that here the device is waited for.
  for (size_t k = 0; k < slots.size(); ++k)
    if (slots[k].on_device && owned(slots[k].entry->name))
      norms[k] =
          std::pow(at::linalg_vector_norm(slots[k].grad, 2, std::nullopt, false, torch::kFloat64).item<double>(), 2);
  if (shard_) shard_->sum(norms);
  std::vector<double> members;
  for (size_t k = 0; k < slots.size(); ++k) {
    if (check_finite_ && !std::isfinite(norms[k]) && !torch::isfinite(slots[k].grad).all().item<bool>())
      throw NonFiniteGradient(slots[k].entry->name);
    if (slots[k].options().clip()) members.push_back(norms[k]);
  }
  // In sorted order, so that the order of parameters does not change the norm.
  std::sort(members.begin(), members.end());
  double total = 0.0;
  for (const double m : members) total += m;
  grad_norm_ = std::sqrt(total);
  if (max_norm_ > 0.0) clip_factor_ = std::min(1.0, max_norm_ / (grad_norm_ + 1e-6));
}

rules::Decay<double> Optimizer::decay_of(const MethodOptions& options) const {
  const DecayTerms terms =
      decay_terms(options.decay_coupling(), options.weight_decay(), options.lr(), options.initial_lr());
  return {options.clip() ? clip_factor_ : 1.0, terms.l2, terms.shrink, options.decay_target()};
}

void Optimizer::step_elementwise(const std::vector<Slot>& slots, const std::vector<ParamState*>& states,
                                 std::vector<StepSums>& sums) {
  std::vector<kernels::Job> jobs;
  std::vector<size_t> members;
  jobs.reserve(slots.size());
  members.reserve(slots.size());
  // A rule has powers in it, and neighbours mostly share theirs.
  const MethodOptions* rule_options = nullptr;
  std::int64_t rule_step = -1;
  kernels::Rule rule;
  for (size_t k = 0; k < slots.size(); ++k) {
    const Slot& s = slots[k];
    if (!states[k] || s.on_device || s.entry->matrix) continue;
    if (rule_options != s.entry->options || rule_step != states[k]->step) {
      rule_options = s.entry->options;
      rule_step = states[k]->step;
      rule = rule_options->implementation().rule(*rule_options, decay_of(*rule_options), rule_step);
    }
    kernels::Job& job = jobs.emplace_back(
        kernels::Job{rule, s.dtype, s.work.data_ptr(), s.grad.data_ptr(), {nullptr, nullptr, nullptr}, s.work.numel()});
    for (size_t b = 0; b < states[k]->buffers.size(); ++b) job.state[b] = states[k]->buffers[b].data_ptr();
    members.push_back(k);
  }
  run_jobs(jobs, members, sums);
}

std::vector<cuda::CudaEntry> Optimizer::device_entries(const std::vector<Slot>& slots,
                                                       const std::vector<ParamState*>& states) const {
  std::vector<cuda::CudaEntry> entries;
  for (size_t k = 0; k < slots.size(); ++k) {
    const Slot& s = slots[k];
    if (s.on_device && states[k])
      entries.push_back({s.work, s.grad, states[k]->buffers, states[k]->device_step, s.entry->options});
  }
  return entries;
}

void Optimizer::update_device() {
  if (!norm_on_device_) throw std::logic_error("update_device() without a step that was made on a device alone");
  check_layout();
  const std::vector<Slot> slots = slots_with_gradients();
  std::vector<ParamState*> states;
  for (const Slot& s : slots) {
    const auto stored = state_.find(s.entry->param.unsafeGetTensorImpl());
    if (!s.on_device || stored == state_.end())
      throw std::logic_error("update_device(): " + s.entry->name + " was not in the step on the device");
    states.push_back(static_cast<ParamState*>(stored->second.get()));
  }
  device_->update(device_entries(slots, states), {max_norm_, check_finite_});
}

void Optimizer::step_on_device(const std::vector<Slot>& slots, const std::vector<ParamState*>& states,
                               std::vector<StepSums>& sums) {
  const std::vector<cuda::CudaEntry> entries = device_entries(slots, states);
  if (entries.empty()) return;
  const cuda::StepLimits limits =
      norm_on_device_ ? cuda::StepLimits{max_norm_, check_finite_} : cuda::StepLimits{0.0, false, clip_factor_};
  device_->step(entries, limits, !sums.empty());
  if (sums.empty()) return;
  const std::vector<StepSums> own = device_->step_sums();
  size_t next = 0;
  for (size_t k = 0; k < slots.size(); ++k)
    if (slots[k].on_device && states[k]) sums[k] = own[next++];
}

double Optimizer::grad_norm() const { return norm_on_device_ ? device_->status().grad_norm : grad_norm_; }
double Optimizer::clip_factor() const { return norm_on_device_ ? device_->status().clip_factor : clip_factor_; }
std::int64_t Optimizer::refused_steps() const { return device_ ? device_->status().refused_steps : 0; }

void Optimizer::step_matrices(const std::vector<Slot>& slots, const std::vector<ParamState*>& states,
                              std::vector<StepSums>& sums) {
  std::vector<size_t> members;
  std::int64_t elements = 0;
  for (size_t k = 0; k <= slots.size(); ++k) {
    const std::int64_t more = k < slots.size() ? slots[k].work.numel() : kBatch;
    if (elements + more > kBatch && !members.empty()) {
      step_matrix_batch(slots, states, members, sums);
      members.clear();
      elements = 0;
    }
    if (k == slots.size() || !states[k] || !slots[k].entry->matrix) continue;
    if (sums.size() > k) sums[k] = StepSums{};
    if (more == 0) continue;
    members.push_back(k);
    elements += more;
  }
}

void Optimizer::step_matrix_batch(const std::vector<Slot>& slots, const std::vector<ParamState*>& states,
                                  const std::vector<size_t>& members, std::vector<StepSums>& sums) {
  const auto method_of = [](const MethodOptions* options) -> const MatrixMethod& {
    return static_cast<const MatrixMethod&>(options->implementation());
  };
  std::vector<MatrixJob> matrices;
  std::vector<size_t> small;
  for (const size_t k : members) {
    const Slot& s = slots[k];
    if (s.work.numel() < kSmallMatrix && !method_of(s.entry->options).factorises()) small.push_back(matrices.size());
    matrices.push_back({s.entry->options,
                        states[k]->step,
                        s.entry->row_blocks,
                        s.dtype,
                        s.work.detach(),
                        s.grad,
                        states[k]->buffers,
                        decay_of(s.options()),
                        {},
                        0.0});
  }
  const auto form = [&](MatrixJob& job) { method_of(job.options).form_update(job); };
  kernels::run_tasks(static_cast<std::int64_t>(small.size()),
                     [&](std::int64_t i) { form(matrices[small[static_cast<size_t>(i)]]); });
  for (MatrixJob& job : matrices)
    if (!job.update.defined()) form(job);
  std::vector<kernels::Job> jobs;
  for (const MatrixJob& m : matrices)
    jobs.push_back({rules::ApplyUpdate<double>{m.decay, m.scale},
                    m.dtype,
                    m.param.data_ptr(),
                    m.grad.data_ptr(),
                    {m.update.data_ptr(), nullptr, nullptr},
                    m.param.numel()});
  run_jobs(jobs, members, sums);
}

Tensor Optimizer::step(LossClosure closure) {
  Tensor loss;
  if (closure) {
    const torch::AutoGradMode with_gradients(true);
    loss = closure();
  }
  const torch::NoGradGuard no_grad;
  const bool trace = std::exchange(trace_, false);
  check_layout();
  std::vector<Slot> slots = slots_with_gradients();
  clip_and_check(slots);

  std::vector<StepSums> sums(trace ? slots.size() : 0);
  std::vector<ParamState*> states;  // null: another process updates the parameter
  states.reserve(slots.size());
  for (const Slot& s : slots) {
    if (!owned(s.entry->name)) {
      states.push_back(nullptr);
      continue;
    }
    auto& stored = state_[s.entry->param.unsafeGetTensorImpl()];
    if (!stored) stored = new_state(s.work, s.options(), memory_);
    states.push_back(static_cast<ParamState*>(stored.get()));
    if (states.back()->method != s.options().method())
      throw std::invalid_argument(s.entry->name + ": has state of method " + states.back()->method +
                                  " and options of " + std::string(s.options().method()));
  }
  for (size_t k = 0; k < slots.size(); ++k) {
    if (!states[k]) continue;
    place_state(*states[k], slots[k].work.device(), slots[k].on_device);
    if (!slots[k].on_device) ++states[k]->step;
  }
  step_on_device(slots, states, sums);
  step_elementwise(slots, states, sums);
  step_matrices(slots, states, sums);
  for (const Slot& s : slots)
    if (!s.work.is_same(s.entry->param)) s.entry->param.detach().copy_(s.work);
  if (shard_) share_step(slots, sums);
  if (trace) record_traces(slots, sums);
  return loss;
}

// Sums of others' parameters are zero here, so that each total is its owner's to the bit.
void Optimizer::share_step(const std::vector<Slot>& slots, std::vector<StepSums>& sums) {
  std::vector<std::string> names;
  std::vector<Tensor> params;
  for (const Slot& s : slots) {
    names.push_back(s.entry->name);
    params.push_back(s.entry->param.detach());
  }
  shard_->share(names, params);
  if (sums.empty()) return;
  constexpr double StepSums::*kFields[] = {&StepSums::grad_sq,      &StepSums::param_sq,    &StepSums::update_sq,
                                           &StepSums::param_update, &StepSums::grad_update, &StepSums::inv_denom,
                                           &StepSums::rounding_sq};
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

void Optimizer::record_traces(const std::vector<Slot>& slots, const std::vector<StepSums>& sums) {
  std::vector<TraceInput> inputs;
  inputs.reserve(slots.size());
  for (size_t k = 0; k < slots.size(); ++k) {
    const Entry& e = *slots[k].entry;
    inputs.push_back(
        {e.name, e.group, e.options->method(), e.options->lr(), e.options->implementation().adaptive(), sums[k]});
  }
  traces_.resize(inputs.size());
  for (size_t k = 0; k < inputs.size(); ++k) fill_trace_row(inputs[k], traces_[k]);
  group_traces_ = trace_rows_by_group(inputs);
}

}  // namespace scalevec
