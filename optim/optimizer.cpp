#include "optim/optimizer.hpp"

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>

#include <c10/core/DeviceGuard.h>

#include "optim/cuda/cuda_step.hpp"
#include "optim/kernels/library_rules.hpp"
#include "optim/optimizer_step.hpp"
#include "optim/parallel/parallel.hpp"
#include "optim/step_shard.hpp"

namespace scalevec {
namespace {

using torch::Tensor;

// Matrices below this many elements are worked on side by side, larger ones one after the other with all threads on
// each.
constexpr std::int64_t kSmallMatrix = 1 << 18;

// Copies to elements anywhere in memory, on the CPU and without an allocation, which could fail.
void copy_to_strided(const Tensor& from, const Tensor& to) {
  const std::int64_t dim = to.dim(), size = static_cast<std::int64_t>(to.element_size());
  const auto* source = static_cast<const char*>(from.const_data_ptr());
  auto* target = static_cast<char*>(to.data_ptr());
  std::array<std::int64_t, 64> index{};
  for (std::int64_t k = 0; k < to.numel(); ++k) {
    std::memcpy(target, source + k * size, static_cast<size_t>(size));
    for (std::int64_t d = dim; d-- > 0;) {
      target += to.stride(d) * size;
      if (++index[static_cast<size_t>(d)] < to.size(d)) break;
      target -= to.size(d) * to.stride(d) * size;
      index[static_cast<size_t>(d)] = 0;
    }
  }
}

}  // namespace

kernels::Store Optimizer::Entry::store(const ParamState& state) const {
  kernels::Store out{rounding, nullptr, stream, state.step + 1};
  if (rounding == kernels::Rounding::compensated) out.low = static_cast<std::int16_t*>(state.buffers.back().data_ptr());
  return out;
}

std::int64_t Optimizer::Entry::modified_parts() const {
  return row_blocks > 0 && !sizes.empty() && sizes[0] % row_blocks == 0 ? row_blocks : 1;
}

kernels::Modifier Optimizer::Entry::modifier(const ParamState& state) const {
  kernels::Modifier out;
  out.cautious = options->cautious();
  out.cautious_decay = options->cautious_decay();
  out.size = step_size(*options);
  out.lr = options->lr();
  out.rms = options->update_rms();
  out.blocks = modified_parts();
  if (const Tensor norm = state.buffer(kHeldNorm); norm.defined()) out.held_norm = norm.data_ptr();
  return out;
}

// The matrices' updates and what undoes their forming, which advances the buffers in place.
struct Optimizer::Matrices {
  std::vector<MatrixJob> jobs;
  std::vector<size_t> members;  // the slot of each
  std::vector<std::vector<Tensor>> before;
  bool committed = false;

  Matrices() = default;
  Matrices(const Matrices&) = delete;
  Matrices& operator=(const Matrices&) = delete;
  ~Matrices() {
    if (committed) return;
    for (size_t i = 0; i < before.size(); ++i)
      for (size_t b = 0; b < before[i].size(); ++b)
        std::memcpy(jobs[i].buffers[b].data_ptr(), before[i][b].const_data_ptr(), before[i][b].nbytes());
  }
};

bool Optimizer::owned(const std::string& name) const { return !shard_ || shard_->owns(name); }

bool Optimizer::on_device(const Tensor& param, const MethodOptions& options) {
  if (!device_ && param.is_cpu()) return false;
  if (!device_ && cuda::handles(param, options)) {
    const c10::DeviceGuard guard(param.device());
    device_ = std::make_shared<cuda::CudaStep>();
  }
  return device_ && device_->handles(param, options);
}

std::vector<Optimizer::Slot> Optimizer::slots_with_gradients() {
  std::vector<Slot> slots;
  slots.reserve(entries_.size());
  // Sums over a group are taken in one place, so that all its parameters step there or none does.
  std::map<const MethodOptions*, bool> together;
  const auto with_its_group = [&](const Entry& e) {
    if (!e.elementwise || !e.elementwise->sums_of_group()) return true;
    const auto [at, is_new] = together.try_emplace(e.options, !shard_);
    for (const Entry& other : entries_)
      if (is_new && other.options == e.options && other.param.grad().defined())
        at->second = at->second && other.as_it_lies && on_device(other.param, *other.options) &&
                     other.param.device() == e.param.device();
    return at->second;
  };
  std::optional<torch::Device> stepping;  // the first parameter's that steps on a device; others' there step on the CPU
  for (Entry& e : entries_) {
    const Tensor& given = e.param.grad();
    if (!given.defined()) continue;
    if (given.layout() != torch::kStrided)
      throw std::invalid_argument(e.name + ": its gradient is sparse; only dense gradients are supported");
    if (given.is_complex())
      throw std::invalid_argument(e.name + ": its gradient is complex; only real gradients are supported");
    if (!same_integers(given.sizes(), e.sizes))
      throw std::invalid_argument(e.name + ": its gradient has shape " + shape_text(given.sizes()) +
                                  "; allowed: " + shape_text(e.param.sizes()));
    if (given.is_meta()) throw std::invalid_argument(e.name + ": its gradient is on the meta device, without values");
    const bool device = e.as_it_lies && on_device(e.param, *e.options) &&
                        stepping.value_or(e.param.device()) == e.param.device() && with_its_group(e);
    if (device) stepping = e.param.device();
    Slot& slot = slots.emplace_back(Slot{&e, {}, {}, &given, nullptr, e.dtype, device});
    if (!device && !e.on_host) slot.work_copy = e.param.detach().cpu().contiguous();
    const Tensor& work = slot.work();
    const c10::IntArrayRef strides = slot.work_copy.defined() ? work.strides() : c10::IntArrayRef(e.strides);
    if (given.device() != work.device() || !same_integers(given.strides(), strides) ||
        given.scalar_type() != e.scalar_type || given.is_neg() || given._is_zerotensor()) {
      slot.grad_copy = at::empty_strided(work.sizes(), strides, work.options().requires_grad(false));
      slot.grad_copy.copy_(given);
      slot.grad = &slot.grad_copy;
    }
    slot.grad_data = slot.grad->const_data_ptr();
  }
  return slots;
}

Optimizer::Norm Optimizer::clip_and_check(const std::vector<Slot>& slots) const {
  Norm out;
  out.on_device =
      !shard_ && !slots.empty() && std::all_of(slots.begin(), slots.end(), [](const Slot& s) { return s.on_device; });
  if (out.on_device || (!check_finite_ && max_norm_ <= 0.0)) return out;
  std::vector<kernels::GradView> views;
  views.reserve(slots.size());
  for (const Slot& s : slots)
    views.push_back({s.dtype, s.grad_data, s.on_device || !owned(s.entry->name) ? 0 : s.grad->numel()});
  std::vector<double> norms = kernels::squared_norms(views, parallel_for);
  // The one norm of a mixture is known here, so that here the device is waited for.
  for (size_t k = 0; k < slots.size(); ++k)
    if (slots[k].on_device && owned(slots[k].entry->name))
      norms[k] =
          std::pow(at::linalg_vector_norm(*slots[k].grad, 2, std::nullopt, false, torch::kFloat64).item<double>(), 2);
  if (shard_) shard_->sum(norms);
  std::vector<double> members;
  members.reserve(slots.size());
  for (size_t k = 0; k < slots.size(); ++k) {
    if (check_finite_ && !std::isfinite(norms[k]) && !torch::isfinite(*slots[k].grad).all().item<bool>())
      throw NonFiniteGradient(slots[k].entry->name);
    if (slots[k].options().clip()) members.push_back(norms[k]);
  }
  // In sorted order, so that the order of parameters does not change the norm.
  std::sort(members.begin(), members.end());
  double total = 0.0;
  for (const double m : members) total += m;
  out.grad_norm = std::sqrt(total);
  if (max_norm_ > 0.0) out.factor = std::min(1.0, max_norm_ / (out.grad_norm + 1e-6));
  return out;
}

rules::Decay<double> Optimizer::decay_of(const MethodOptions& options, double clip_factor) {
  const DecayTerms terms =
      decay_terms(options.decay_coupling(), options.weight_decay(), options.lr(), options.initial_lr());
  return {options.clip() ? clip_factor : 1.0, terms.l2, terms.shrink, options.decay_target()};
}

void Optimizer::find_states(std::vector<Slot>& slots, NewStates& made) {
  for (Slot& s : slots) {
    if (!owned(s.entry->name)) continue;
    void* key = s.entry->param.unsafeGetTensorImpl();
    const auto stored = state_.find(key);
    auto* held = stored == state_.end() ? nullptr : stored->second.get();
    if (held && s.entry->fitted) {
      s.state = static_cast<ParamState*>(held);
      if (s.state->device_step.defined() == s.on_device) {
        s.note_step();
        continue;
      }
    }
    auto* known = dynamic_cast<ParamState*>(held);
    if (held && !known) throw std::invalid_argument(s.entry->name + ": its state was not made by scalevec");
    auto fitted = fitted_state(*s.entry, s.work(), s.on_device, known, s.fresh);
    s.state = fitted ? made.add(key, std::move(fitted)) : known;
    s.note_step();
  }
}

void Optimizer::add_elementwise(std::vector<Slot>& slots, double clip_factor, std::vector<kernels::Job>& jobs,
                                std::vector<size_t>& members) const {
  // A rule has powers in it, and neighbours mostly share theirs.
  const MethodOptions* rule_options = nullptr;
  std::int64_t rule_step = -1;
  bool rule_fresh = false;
  kernels::Rule rule;
  for (size_t k = 0; k < slots.size(); ++k) {
    Slot& s = slots[k];
    if (!s.state || s.on_device || s.entry->matrix) continue;
    const bool has_numbers = s.entry->elementwise && s.elementwise().numbers() > 0;
    if (has_numbers) {
      s.read_numbers();
      if (!s.measures()) s.elementwise().advance(s.options(), s.step(), s.fresh, nullptr, s.numbers.data());
      rule_options = nullptr;
    }
    if (rule_options != s.entry->options || rule_step != s.step() || rule_fresh != s.fresh) {
      rule_options = s.entry->options;
      rule_step = s.step();
      rule_fresh = s.fresh;
      rule = s.entry->method->rule(*rule_options, decay_of(*rule_options, clip_factor), rule_step, rule_fresh,
                                   has_numbers ? s.numbers.data() : nullptr);
    }
    kernels::Job& job = jobs.emplace_back(kernels::Job{rule, s.dtype, s.data(), s.grad_data, {}, s.work().numel()});
    if (s.entry->rounding != kernels::Rounding::nearest) job.store = &s.state->store;
    job.modifier = s.modifier();
    size_t next = 0;
    for (size_t k = 0; k < kMaxBuffers; ++k)
      if (rule.loops->held >> k & 1) job.state[k] = s.state->buffers[next++].data_ptr();
    members.push_back(k);
  }
}

// All updates are formed before the first is applied: a matrix whose decomposition fails leaves the others as they are.
void Optimizer::form_updates(const std::vector<Slot>& slots, double clip_factor, Matrices& matrices) const {
  for (size_t k = 0; k < slots.size(); ++k) {
    const Slot& s = slots[k];
    if (!s.state || !s.entry->matrix || s.on_device || s.work().numel() == 0) continue;
    const auto own = static_cast<std::ptrdiff_t>(s.own_buffers());
    matrices.jobs.push_back({s.entry->options,
                             s.step(),
                             s.entry->row_blocks,
                             &s.entry->role,
                             s.dtype,
                             s.work().detach(),
                             *s.grad,
                             {s.state->names.begin(), s.state->names.begin() + own},
                             {s.state->buffers.begin(), s.state->buffers.begin() + own},
                             decay_of(s.options(), clip_factor),
                             {},
                             0.0,
                             s.entry->store(*s.state)});
    matrices.members.push_back(k);
  }
  matrices.before.resize(matrices.jobs.size());
  const auto method_of = [](const MatrixJob& job) -> const MatrixMethod& {
    return static_cast<const MatrixMethod&>(job.options->implementation());
  };
  const auto form = [&](size_t i) {
    MatrixJob& job = matrices.jobs[i];
    std::vector<Tensor> before;
    for (const Tensor& buffer : job.buffers) before.push_back(buffer.clone());
    matrices.before[i] = std::move(before);
    try {
      method_of(job).form_update(job);
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const c10::OutOfMemoryError&) {
      throw;
    } catch (const c10::Error& e) {
      throw std::runtime_error(slots[matrices.members[i]].entry->name + ": " + std::string(job.options->method()) +
                               ": " + e.what_without_backtrace());
    } catch (const std::exception& e) {
      throw std::runtime_error(slots[matrices.members[i]].entry->name + ": " + std::string(job.options->method()) +
                               ": " + e.what());
    }
  };
  std::vector<size_t> small, large;
  for (size_t i = 0; i < matrices.jobs.size(); ++i) {
    const MatrixJob& job = matrices.jobs[i];
    (job.param.numel() < kSmallMatrix && !method_of(job).factorises() ? small : large).push_back(i);
  }
  run_tasks(static_cast<std::int64_t>(small.size()), [&](std::int64_t i) { form(small[static_cast<size_t>(i)]); });
  for (const size_t i : large) form(i);
}

std::vector<cuda::CudaEntry> Optimizer::device_entries(const std::vector<Slot>& slots) const {
  std::vector<cuda::CudaEntry> entries;
  for (const Slot& s : slots)
    if (s.on_device && s.state)
      entries.push_back({s.work(), *s.grad, s.state->buffers, s.state->device_step, s.entry->options, s.fresh,
                         s.entry->rounding, s.entry->stream,
                         s.entry->matrix ? static_cast<const MatrixMethod*>(s.entry->method) : nullptr,
                         s.entry->row_blocks, s.entry->modified_parts(), &s.entry->role, s.step()});
  return entries;
}

void Optimizer::refuse_averages(const char* what) const {
  if (!averaged_.empty())
    throw std::logic_error(std::string(what) +
                           " while the average weights are in place; use_average_weights(false) comes first");
}

bool Optimizer::update_device(bool traced) {
  if (!norm_on_device_) throw std::logic_error("update_device() without a step that was made on a device alone");
  refuse_averages("update_device()");
  check_layout();
  std::vector<Slot> slots = slots_with_gradients();
  for (Slot& s : slots) {
    const auto stored = state_.find(s.entry->param.unsafeGetTensorImpl());
    if (!s.on_device || stored == state_.end())
      throw std::logic_error("update_device(): " + s.entry->name + " was not in the step on the device");
    s.state = static_cast<ParamState*>(stored->second.get());
  }
  if (traced) prepare_traces(slots);
  make_room(slots.size());
  return device_->update(device_entries(slots), {max_norm_, check_finite_});
}

// Of parameters that step on a device, whose states count the steps for the host too.
template <class Body>
void Optimizer::for_device_states(const Body& body) const {
  for (const Entry& e : entries_) {
    if (!e.param.grad().defined()) continue;
    const auto stored = state_.find(e.param.unsafeGetTensorImpl());
    if (stored == state_.end()) continue;
    if (auto& state = static_cast<ParamState&>(*stored->second); state.device_step.defined()) body(e, state);
  }
}

bool Optimizer::next_is_ordinary() const {
  bool ordinary = true;
  // Parameters of a group mostly share their step.
  std::pair<const MethodOptions*, std::int64_t> asked{};
  for_device_states([&](const Entry& e, const ParamState& state) {
    if (!e.matrix || asked == std::pair<const MethodOptions*, std::int64_t>(e.options, state.step)) return;
    asked = {e.options, state.step};
    ordinary = ordinary && static_cast<const MatrixMethod*>(e.method)->ordinary_on_device(*e.options, state.step + 1);
  });
  return ordinary;
}

void Optimizer::note_replay(bool traced) {
  for_device_states([](const Entry&, ParamState& state) { ++state.step; });
  note_launch(traced);
}

double Optimizer::grad_norm() const { return norm_on_device_ ? device_->status().grad_norm : grad_norm_; }
double Optimizer::clip_factor() const { return norm_on_device_ ? device_->status().clip_factor : clip_factor_; }
std::int64_t Optimizer::refused_steps() const { return device_ ? device_->status().refused_steps : 0; }

Tensor Optimizer::step(LossClosure closure) {
  refuse_averages("step()");
  Tensor loss;
  if (closure) {
    const torch::AutoGradMode with_gradients(true);
    loss = closure();
  }
  const torch::NoGradGuard no_grad;
  // Everything that may fail comes first and changes nothing that can be seen.
  check_layout();
  std::vector<Slot> slots = slots_with_gradients();
  const Norm norm = clip_and_check(slots);
  NewStates made(*this);
  find_states(slots, made);
  std::vector<kernels::Job> jobs;
  std::vector<size_t> members;
  jobs.reserve(slots.size());
  members.reserve(slots.size());
  add_elementwise(slots, norm.factor, jobs, members);
  Measures measures;
  plan_measures(slots, norm.factor, jobs, members, measures);
  Matrices matrices;
  form_updates(slots, norm.factor, matrices);
  for (size_t i = 0; i < matrices.jobs.size(); ++i) {
    const MatrixJob& m = matrices.jobs[i];
    jobs.push_back({kernels::pass_rule<kernels::ApplyPass>(m.decay, {m.scale}),
                    m.dtype,
                    m.param.data_ptr(),
                    m.grad.const_data_ptr(),
                    {m.update.data_ptr()},
                    m.param.numel(),
                    &m.store,
                    slots[matrices.members[i]].modifier()});
    members.push_back(matrices.members[i]);
  }
  kernels::StepPlan plan(jobs, trace_);
  std::vector<StepSums> sums(trace_ ? slots.size() : 0), own(trace_ ? jobs.size() : 0);
  const bool deferred = trace_ && defers_traces_ && norm.on_device;
  if (trace_) prepare_traces(slots);
  const LogitClip clip = plan_logit_clip(norm.on_device);
  const std::vector<void*> left = left_states();
  const std::vector<cuda::CudaEntry> device = device_entries(slots);
  if (!device.empty() && !recording_) make_room(device.size());
  if (!device.empty())
    device_->step(
        device, norm.on_device ? cuda::StepLimits{max_norm_, check_finite_} : cuda::StepLimits{0.0, false, norm.factor},
        trace_);
  // From here on only a device or a network can fail.
  run_measures(slots, norm.factor, measures, jobs);
  plan.run(own, parallel_for);
  for (const Slot& s : slots) s.keep_numbers();
  matrices.committed = true;
  made.commit();
  for (const Slot& s : slots) {
    s.entry->options->note_initial_lr();
    if (!s.state) continue;
    if (!s.on_device || !recording_) ++s.state->step;
    const Tensor& param = s.entry->param;
    if (s.work_copy.defined() && !s.work_copy.is_same(param)) {
      if (param.device().is_cpu())
        copy_to_strided(s.work_copy, param);
      else
        param.detach().copy_(s.work_copy);
    }
    s.bump_version();
    s.entry->fitted = true;
  }
  grad_norm_ = norm.grad_norm;
  clip_factor_ = norm.factor;
  norm_on_device_ = norm.on_device;
  if (!device.empty() && !recording_) note_launch(deferred);
  if (trace_ && !device.empty() && !deferred) {
    const std::vector<StepSums> of_device = device_->step_sums();
    size_t next = 0;
    for (size_t k = 0; k < slots.size(); ++k)
      if (slots[k].on_device && slots[k].state) sums[k] = of_device[next++];
  }
  for (size_t i = 0; i < own.size(); ++i) sums[members[i]] = own[i];
  if (shard_) share_step(slots, sums);
  clip.run(norm.on_device && !clip.rows.empty() ? device_->refused() : Tensor());
  max_logits_.clear();
  if (trace_ && !deferred) record_traces(sums);
  trace_ = false;
  for (void* key : left) state_.erase(key);
  layout_is_new_ = false;
  return loss;
}

bool Optimizer::has_average_weights() const {
  return std::any_of(param_groups_.begin(), param_groups_.end(), [](const torch::optim::OptimizerParamGroup& group) {
    const MethodOptions& options = method_options(group);
    return options.implementation().average(options).has_value();
  });
}

void Optimizer::use_average_weights(bool on) {
  const torch::NoGradGuard no_grad;
  if (!on) {
    for (auto& [param, kept] : averaged_) param.copy_(kept);
    averaged_.clear();
    return;
  }
  if (!averaged_.empty()) return;
  check_layout();
  std::vector<std::pair<Tensor, Tensor>> kept;
  std::vector<std::string> names;
  std::vector<Tensor> params;
  std::vector<std::pair<Tensor, Tensor>> values;
  for (const Entry& e : entries_) {
    const auto average = e.method->average(*e.options);
    if (!average) continue;
    kept.emplace_back(e.param.detach(), e.param.detach().clone());
    names.push_back(e.name);
    params.push_back(e.param.detach());
    const auto stored = state_.find(e.param.unsafeGetTensorImpl());
    if (stored == state_.end() || !owned(e.name)) continue;
    const Tensor offset = static_cast<const ParamState&>(*stored->second).buffer(average->buffer);
    // A state that was loaded lies on the CPU until the next step.
    values.emplace_back(e.param.detach(),
                        e.param.detach().to(offset.scalar_type()).add(offset.to(e.param.device()), average->weight));
  }
  averaged_ = std::move(kept);
  for (auto& [param, value] : values) param.copy_(value);
  if (shard_ && !names.empty()) shard_->share(names, params);
}

}  // namespace scalevec
