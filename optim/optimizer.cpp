#include "scalevec/optim/optimizer.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include <c10/core/DeviceGuard.h>

#include "scalevec/optim/cuda/cuda_step.hpp"
#include "scalevec/optim/parallel/parallel.hpp"
#include "scalevec/optim/method.hpp"

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
  Tensor param;  // the caller's
  Tensor work;   // what the kernel writes: param itself where its memory is dense, on the CPU or on_device
  Tensor grad;   // laid out like `work`
  MethodOptions* options;
  kernels::Dtype dtype;
  std::string name;
  std::string group;
  std::int64_t row_blocks = 1;
  bool on_device = false;  // stepped by device_
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
  std::optional<torch::Device> stepping;  // the first parameter's that steps on a device; others' there step on the CPU
  for (size_t g = 0; g < param_groups_.size(); ++g) {
    MethodOptions& options = method_options(param_groups_[g]);
    for (size_t i = 0; i < param_groups_[g].params().size(); ++i) {
      const Tensor& param = param_groups_[g].params()[i];
      Tensor grad = param.grad();
      if (!grad.defined()) continue;
      const Identity known = identity(param);
      std::string name = name_of(param, g, i);
      if (grad.is_sparse())
        throw std::invalid_argument(name + ": its gradient is sparse; only dense gradients are supported");
      if (grad.is_complex())
        throw std::invalid_argument(name + ": its gradient is complex; only real gradients are supported");
      Tensor work = param.detach();
      const bool matrix = dynamic_cast<const MatrixMethod*>(&options.implementation()) != nullptr;
      const bool device = on_device(work, options) && stepping.value_or(work.device()) == work.device();
      if (device) stepping = work.device();
      if (!device &&
          (!work.device().is_cpu() || !work.is_non_overlapping_and_dense() || (matrix && !work.is_contiguous())))
        work = work.cpu().contiguous();
      if (grad.device() != work.device() || grad.strides() != work.strides() || grad.scalar_type() != work.scalar_type()) {
        const Tensor laid_out = at::empty_strided(work.sizes(), work.strides(), work.options());
        grad = laid_out.copy_(grad);
      }
      const kernels::Dtype dtype = kernel_dtype(param, name);
      slots.push_back({param, std::move(work), std::move(grad), &options, dtype, std::move(name), known.group,
                       known.row_blocks, device});
    }
  }
  return slots;
}

void Optimizer::clip_and_check(std::vector<Slot>& slots) {
  grad_norm_ = kNoTrace;
  clip_factor_ = 1.0;
  norm_on_device_ = !slots.empty() && std::all_of(slots.begin(), slots.end(), [](const Slot& s) { return s.on_device; });
  if (norm_on_device_) return;
  if (!check_finite_ && max_norm_ <= 0.0) return;
  std::vector<kernels::GradView> views;
  for (const Slot& s : slots) views.push_back({s.dtype, s.grad.data_ptr(), s.on_device ? 0 : s.grad.numel()});
  std::vector<double> norms = kernels::squared_norms(views, kernels::parallel_for);
  // The one norm of a mixture is known here, so that here the device is waited for.
  for (size_t k = 0; k < slots.size(); ++k)
    if (slots[k].on_device)
      norms[k] = std::pow(at::linalg_vector_norm(slots[k].grad, 2, std::nullopt, false, torch::kFloat64).item<double>(), 2);
  std::vector<double> members;
  for (size_t k = 0; k < slots.size(); ++k) {
    if (check_finite_ && !std::isfinite(norms[k]) && !torch::isfinite(slots[k].grad).all().item<bool>())
      throw NonFiniteGradient(slots[k].name);
    if (slots[k].options->clip()) members.push_back(norms[k]);
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
  for (size_t k = 0; k < slots.size(); ++k) {
    const Slot& s = slots[k];
    const Method& method = s.options->implementation();
    if (s.on_device || !dynamic_cast<const ElementwiseMethod*>(&method)) continue;
    kernels::Job job{method.rule(*s.options, decay_of(*s.options), states[k]->step),
                     s.dtype,
                     s.work.data_ptr(),
                     s.grad.data_ptr(),
                     {nullptr, nullptr, nullptr},
                     s.work.numel()};
    for (size_t b = 0; b < states[k]->buffers.size(); ++b) job.state[b] = states[k]->buffers[b].data_ptr();
    jobs.push_back(job);
    members.push_back(k);
  }
  run_jobs(jobs, members, sums);
}

void Optimizer::step_on_device(const std::vector<Slot>& slots, const std::vector<ParamState*>& states,
                               std::vector<StepSums>& sums) {
  std::vector<cuda::CudaEntry> entries;
  std::vector<size_t> members;
  for (size_t k = 0; k < slots.size(); ++k) {
    const Slot& s = slots[k];
    if (!s.on_device) continue;
    entries.push_back({s.work, s.grad, states[k]->buffers, states[k]->device_step, s.options});
    members.push_back(k);
  }
  if (entries.empty()) return;
  const cuda::StepLimits limits =
      norm_on_device_ ? cuda::StepLimits{max_norm_, check_finite_} : cuda::StepLimits{0.0, false, clip_factor_};
  device_->step(entries, limits, !sums.empty());
  if (sums.empty()) return;
  const std::vector<StepSums> own = device_->step_sums();
  for (size_t i = 0; i < own.size(); ++i) sums[members[i]] = own[i];
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
    if (k == slots.size() || !dynamic_cast<const MatrixMethod*>(&slots[k].options->implementation())) continue;
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
    if (s.work.numel() < kSmallMatrix && !method_of(s.options).factorises()) small.push_back(matrices.size());
    matrices.push_back({s.options,
                        states[k]->step,
                        s.row_blocks,
                        s.dtype,
                        s.work,
                        s.grad,
                        states[k]->buffers,
                        decay_of(*s.options),
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
  std::vector<ParamState*> states;
  for (const Slot& s : slots) {
    auto& stored = state_[s.param.unsafeGetTensorImpl()];
    if (!stored) stored = new_state(s.work, *s.options);
    states.push_back(static_cast<ParamState*>(stored.get()));
    if (states.back()->method != s.options->method())
      throw std::invalid_argument(s.name + ": has state of method " + states.back()->method + " and options of " +
                                  std::string(s.options->method()));
  }
  for (size_t k = 0; k < slots.size(); ++k) {
    place_state(*states[k], slots[k].work.device(), slots[k].on_device);
    if (!slots[k].on_device) ++states[k]->step;
  }
  step_on_device(slots, states, sums);
  step_elementwise(slots, states, sums);
  step_matrices(slots, states, sums);
  for (Slot& s : slots)
    if (s.work.data_ptr() != s.param.data_ptr()) s.param.detach().copy_(s.work);
  if (trace) record_traces(slots, sums);
  return loss;
}

void Optimizer::record_traces(const std::vector<Slot>& slots, const std::vector<StepSums>& sums) {
  std::vector<TraceInput> inputs;
  for (size_t k = 0; k < slots.size(); ++k) {
    const Slot& s = slots[k];
    inputs.push_back(
        {s.name, s.group, s.options->method(), s.options->lr(), s.options->implementation().adaptive(), sums[k]});
  }
  traces_.clear();
  for (const TraceInput& in : inputs) traces_.push_back(trace_row(in));
  group_traces_ = trace_rows_by_group(inputs);
}

}  // namespace scalevec
