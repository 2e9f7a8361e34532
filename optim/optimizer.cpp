#include "scalevec/optim/optimizer.hpp"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "scalevec/optim/method.hpp"

namespace scalevec {
namespace {

using torch::Tensor;

struct ParamState : torch::optim::OptimizerParamState {
  std::string method;
  std::int64_t step = 0;
  std::vector<Tensor> buffers;

  std::unique_ptr<OptimizerParamState> clone() const override { return std::make_unique<ParamState>(*this); }
};

MethodOptions& method_options(torch::optim::OptimizerParamGroup& group) {
  auto* options = dynamic_cast<MethodOptions*>(&group.options());
  if (!options) throw std::invalid_argument("a parameter group's options are not of a scalevec method");
  return *options;
}

const MethodOptions& method_options(const torch::optim::OptimizerParamGroup& group) {
  return method_options(const_cast<torch::optim::OptimizerParamGroup&>(group));
}

kernels::Dtype kernel_dtype(const Tensor& param, const std::string& name) {
  switch (param.scalar_type()) {
    case torch::kFloat32: return kernels::Dtype::float32;
    case torch::kFloat64: return kernels::Dtype::float64;
    case torch::kBFloat16: return kernels::Dtype::bfloat16;
    default:
      throw std::invalid_argument(name + ": dtype " + std::string(c10::toString(param.scalar_type())) +
                                  "; allowed: float32, float64, bfloat16");
  }
}

void parallel_for(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  if (count < 3) {
    for (std::int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  at::parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) body(i);
  });
}

std::unique_ptr<ParamState> new_state(const Tensor& param, const MethodOptions& options) {
  auto state = std::make_unique<ParamState>();
  state->method = options.method();
  const auto dtype = param.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
  for (size_t i = 0; i < options.implementation().buffers(options).size(); ++i)
    state->buffers.push_back(torch::zeros_like(param, torch::dtype(dtype).device(torch::kCPU).requires_grad(false)));
  return state;
}

std::string shape_text(const Tensor& t) {
  std::string text = "[";
  for (const auto n : t.sizes()) text += (text.size() > 1 ? "," : "") + std::to_string(n);
  return text + "]";
}

}  // namespace

struct Optimizer::Slot {
  Tensor param;       // the caller's
  Tensor work;        // what the kernel writes: param itself where its memory is dense on the CPU
  Tensor grad;        // laid out like `work`
  MethodOptions* options;
  kernels::Dtype dtype;
  std::string name;
  std::string group;
  double grad_sq = 0.0;
};

Optimizer::Optimizer(const std::vector<torch::optim::OptimizerParamGroup>& groups,
                     std::unique_ptr<MethodOptions> defaults)
    : torch::optim::Optimizer(groups, std::move(defaults)) {
  check_layout();
}

std::string Optimizer::name_of(const Tensor& param, size_t group, size_t index) const {
  const auto it = identities_.find(param.unsafeGetTensorImpl());
  return it != identities_.end() ? it->second.name : "param." + std::to_string(group) + "." + std::to_string(index);
}

void Optimizer::set_names(const std::vector<NamedParam>& params) {
  for (const NamedParam& p : params) identities_[p.tensor.unsafeGetTensorImpl()] = {p.name, trace_group(p.role)};
}

// The base class's add_param_group accepts anything, so groups are checked here when their sizes have changed.
void Optimizer::check_layout() {
  std::vector<size_t> layout;
  for (const auto& group : param_groups_) layout.push_back(group.params().size());
  const auto captured = [](const auto& group) { return method_options(group).initial_lr() >= 0.0; };
  if (layout == checked_layout_ && std::all_of(param_groups_.begin(), param_groups_.end(), captured)) return;
  std::set<const void*> seen;
  for (size_t g = 0; g < param_groups_.size(); ++g) {
    MethodOptions& options = method_options(param_groups_[g]);
    const std::string error = options.error();
    if (!error.empty()) throw std::invalid_argument("parameter group " + std::to_string(g) + ": " + error);
    for (size_t i = 0; i < param_groups_[g].params().size(); ++i) {
      const Tensor& param = param_groups_[g].params()[i];
      if (!param.defined()) throw std::invalid_argument("parameter " + std::to_string(i) + " of group " + std::to_string(g) + " is undefined");
      const std::string name = name_of(param, g, i);
      if (!seen.insert(param.unsafeGetTensorImpl()).second)
        throw std::invalid_argument(name + ": the same parameter is in the optimizer twice");
      if (param.is_sparse() || param.is_complex())
        throw std::invalid_argument(name + ": sparse and complex parameters are not supported");
      kernel_dtype(param, name);
    }
    if (options.initial_lr() < 0.0) options.set_initial_lr(options.lr());
  }
  checked_layout_ = std::move(layout);
}

void Optimizer::set_lr_factor(double factor) {
  check_layout();
  for (auto& group : param_groups_) {
    MethodOptions& options = method_options(group);
    options.set_lr(options.initial_lr() * factor);
  }
}

std::vector<Optimizer::Slot> Optimizer::slots_with_gradients() {
  std::vector<Slot> slots;
  for (size_t g = 0; g < param_groups_.size(); ++g) {
    MethodOptions& options = method_options(param_groups_[g]);
    for (size_t i = 0; i < param_groups_[g].params().size(); ++i) {
      const Tensor& param = param_groups_[g].params()[i];
      Tensor grad = param.grad();
      if (!grad.defined()) continue;
      const auto it = identities_.find(param.unsafeGetTensorImpl());
      std::string name = name_of(param, g, i);
      if (grad.is_sparse()) throw std::invalid_argument(name + ": its gradient is sparse; only dense gradients are supported");
      if (grad.is_complex()) throw std::invalid_argument(name + ": its gradient is complex; only real gradients are supported");
      Tensor work = param.detach();
      if (!work.device().is_cpu() || !work.is_non_overlapping_and_dense()) work = work.cpu().contiguous();
      if (!grad.device().is_cpu() || grad.strides() != work.strides() || grad.scalar_type() != work.scalar_type()) {
        const Tensor laid_out = at::empty_strided(work.sizes(), work.strides(), work.options());
        grad = laid_out.copy_(grad);
      }
      const kernels::Dtype dtype = kernel_dtype(param, name);
      slots.push_back({param, std::move(work), std::move(grad), &options, dtype, std::move(name),
                       it != identities_.end() ? it->second.group : "params", 0.0});
    }
  }
  return slots;
}

void Optimizer::clip_and_check(std::vector<Slot>& slots) {
  grad_norm_ = kNoTrace;
  clip_factor_ = 1.0;
  if (!check_finite_ && max_norm_ <= 0.0) return;
  std::vector<kernels::GradView> views;
  for (const Slot& s : slots) views.push_back({s.dtype, s.grad.data_ptr(), s.grad.numel()});
  const std::vector<double> norms = kernels::squared_norms(views, parallel_for);
  std::vector<double> members;
  for (size_t k = 0; k < slots.size(); ++k) {
    slots[k].grad_sq = norms[k];
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

  std::vector<kernels::Job> jobs;
  for (Slot& s : slots) {
    auto& stored = state_[s.param.unsafeGetTensorImpl()];
    if (!stored) stored = new_state(s.work, *s.options);
    auto& state = static_cast<ParamState&>(*stored);
    if (state.method != s.options->method())
      throw std::invalid_argument(s.name + ": has state of method " + state.method + " and options of " +
                                  std::string(s.options->method()));
    ++state.step;
    const DecayTerms terms = decay_terms(s.options->decay_coupling(), s.options->weight_decay(), s.options->lr(),
                                         s.options->initial_lr());
    const rules::Decay<double> decay{s.options->clip() ? clip_factor_ : 1.0, terms.l2, terms.shrink,
                                     s.options->decay_target()};
    kernels::Job job{s.options->implementation().rule(*s.options, decay, state.step), s.dtype, s.work.data_ptr(),
                     s.grad.data_ptr(), {nullptr, nullptr}, s.work.numel()};
    for (size_t b = 0; b < state.buffers.size(); ++b) job.state[b] = state.buffers[b].data_ptr();
    jobs.push_back(job);
  }
  std::vector<StepSums> sums(trace ? jobs.size() : 0);
  kernels::step(jobs, sums, parallel_for);
  for (Slot& s : slots)
    if (s.work.data_ptr() != s.param.data_ptr()) s.param.detach().copy_(s.work);
  if (trace) record_traces(slots, sums);
  return loss;
}

void Optimizer::record_traces(const std::vector<Slot>& slots, const std::vector<StepSums>& sums) {
  std::vector<TraceInput> inputs;
  for (size_t k = 0; k < slots.size(); ++k) {
    const Slot& s = slots[k];
    inputs.push_back({s.name, s.group, s.options->method(), s.options->lr(), s.options->implementation().adaptive(), sums[k]});
  }
  traces_.clear();
  for (const TraceInput& in : inputs) traces_.push_back(trace_row(in));
  group_traces_ = trace_rows_by_group(inputs);
}

std::vector<std::pair<std::string, Tensor>> Optimizer::named_state() const {
  std::vector<std::pair<std::string, Tensor>> out;
  for (size_t g = 0; g < param_groups_.size(); ++g) {
    const MethodOptions& options = method_options(param_groups_[g]);
    const auto buffers = options.implementation().buffers(options);
    for (size_t i = 0; i < param_groups_[g].params().size(); ++i) {
      const Tensor& param = param_groups_[g].params()[i];
      const auto it = state_.find(param.unsafeGetTensorImpl());
      if (it == state_.end()) continue;
      const auto& state = static_cast<const ParamState&>(*it->second);
      const std::string name = name_of(param, g, i);
      out.emplace_back(name + "/step", torch::tensor(state.step, torch::kInt64));
      for (size_t b = 0; b < state.buffers.size(); ++b) out.emplace_back(name + "/" + buffers[b], state.buffers[b]);
    }
  }
  return out;
}

void Optimizer::load_named_state(const std::vector<std::pair<std::string, Tensor>>& entries) {
  std::map<std::string, Tensor> left(entries.begin(), entries.end());
  std::vector<std::pair<void*, std::unique_ptr<ParamState>>> loaded;
  for (size_t g = 0; g < param_groups_.size(); ++g) {
    const MethodOptions& options = method_options(param_groups_[g]);
    const auto buffers = options.implementation().buffers(options);
    for (size_t i = 0; i < param_groups_[g].params().size(); ++i) {
      const Tensor& param = param_groups_[g].params()[i];
      const std::string name = name_of(param, g, i);
      const auto steps = left.find(name + "/step");
      if (steps == left.end()) continue;
      Tensor work = param.detach();
      if (!work.device().is_cpu()) work = work.cpu();
      auto state = new_state(work, options);
      state->step = steps->second.item<std::int64_t>();
      left.erase(steps);
      for (size_t b = 0; b < buffers.size(); ++b) {
        const auto entry = left.find(name + "/" + buffers[b]);
        if (entry == left.end()) throw std::invalid_argument("optimizer state: " + name + "/" + buffers[b] + " is missing");
        if (entry->second.sizes() != param.sizes())
          throw std::invalid_argument("optimizer state: " + entry->first + " has shape " + shape_text(entry->second) +
                                      "; allowed: " + shape_text(param));
        state->buffers[b].copy_(entry->second);
        left.erase(entry);
      }
      loaded.emplace_back(param.unsafeGetTensorImpl(), std::move(state));
    }
  }
  if (!left.empty()) throw std::invalid_argument("optimizer state: " + left.begin()->first + " belongs to no parameter here");
  state_.clear();
  for (auto& [key, state] : loaded) state_[key] = std::move(state);
}

void Optimizer::save(torch::serialize::OutputArchive& archive) const {
  archive.write("format", c10::IValue(std::string("scalevec optimizer 1")));
  archive.write("groups", c10::IValue(static_cast<std::int64_t>(param_groups_.size())));
  for (size_t g = 0; g < param_groups_.size(); ++g) {
    const MethodOptions& options = method_options(param_groups_[g]);
    torch::serialize::OutputArchive group(archive.compilation_unit());
    torch::serialize::OutputArchive fields(archive.compilation_unit());
    options.serialize(fields);
    group.write("method", c10::IValue(std::string(options.method())));
    group.write("options", fields);
    group.write("size", c10::IValue(static_cast<std::int64_t>(param_groups_[g].params().size())));
    for (size_t i = 0; i < param_groups_[g].params().size(); ++i) {
      const auto it = state_.find(param_groups_[g].params()[i].unsafeGetTensorImpl());
      torch::serialize::OutputArchive entry(archive.compilation_unit());
      const auto* state = it == state_.end() ? nullptr : static_cast<const ParamState*>(it->second.get());
      entry.write("step", c10::IValue(state ? state->step : std::int64_t{-1}));
      entry.write("buffers", c10::IValue(static_cast<std::int64_t>(state ? state->buffers.size() : 0)));
      for (size_t b = 0; state && b < state->buffers.size(); ++b) entry.write("buffer" + std::to_string(b), state->buffers[b]);
      group.write("state" + std::to_string(i), entry);
    }
    archive.write("group" + std::to_string(g), group);
  }
}

void Optimizer::load(torch::serialize::InputArchive& archive) {
  const auto integer = [](torch::serialize::InputArchive& from, const std::string& key) {
    c10::IValue value;
    from.read(key, value);
    return value.toInt();
  };
  c10::IValue format;
  if (!archive.try_read("format", format) || format.toStringRef() != "scalevec optimizer 1")
    throw std::invalid_argument("saved optimizer: not written by scalevec");
  if (integer(archive, "groups") != static_cast<std::int64_t>(param_groups_.size()))
    throw std::invalid_argument("saved optimizer: has " + std::to_string(integer(archive, "groups")) + " groups; allowed: " +
                                std::to_string(param_groups_.size()));
  std::vector<std::unique_ptr<MethodOptions>> all_options;
  std::vector<std::pair<void*, std::unique_ptr<ParamState>>> loaded;
  for (size_t g = 0; g < param_groups_.size(); ++g) {
    const std::string where = "saved optimizer, group " + std::to_string(g) + ": ";
    torch::serialize::InputArchive group, fields;
    archive.read("group" + std::to_string(g), group);
    c10::IValue method;
    group.read("method", method);
    auto options = make_method_options(method.toStringRef());
    if (!options) throw std::invalid_argument(where + "unknown method " + method.toStringRef());
    group.read("options", fields);
    options->serialize(fields);
    const auto& params = param_groups_[g].params();
    if (integer(group, "size") != static_cast<std::int64_t>(params.size()))
      throw std::invalid_argument(where + "has " + std::to_string(integer(group, "size")) + " parameters; allowed: " +
                                  std::to_string(params.size()));
    for (size_t i = 0; i < params.size(); ++i) {
      torch::serialize::InputArchive entry;
      group.read("state" + std::to_string(i), entry);
      const std::int64_t step = integer(entry, "step");
      if (step < 0) continue;
      Tensor work = params[i].detach();
      if (!work.device().is_cpu()) work = work.cpu();
      auto state = new_state(work, *options);
      state->step = step;
      if (integer(entry, "buffers") != static_cast<std::int64_t>(state->buffers.size()))
        throw std::invalid_argument(where + name_of(params[i], g, i) + " has state of another method");
      for (size_t b = 0; b < state->buffers.size(); ++b) {
        Tensor buffer;
        entry.read("buffer" + std::to_string(b), buffer);
        if (buffer.sizes() != params[i].sizes())
          throw std::invalid_argument(where + name_of(params[i], g, i) + " has shape " + shape_text(buffer) + "; allowed: " +
                                      shape_text(params[i]));
        state->buffers[b].copy_(buffer);
      }
      loaded.emplace_back(params[i].unsafeGetTensorImpl(), std::move(state));
    }
    all_options.push_back(std::move(options));
  }
  state_.clear();
  for (auto& [key, state] : loaded) state_[key] = std::move(state);
  for (size_t g = 0; g < param_groups_.size(); ++g) param_groups_[g].set_options(std::move(all_options[g]));
  checked_layout_.clear();
}

std::vector<NamedParam> named_params(const torch::nn::Module& module, const RoleOf& role_of) {
  std::vector<NamedParam> out;
  std::set<const void*> seen;
  for (const auto& item : module.named_parameters()) {
    if (!item.value().requires_grad() || !seen.insert(item.value().unsafeGetTensorImpl()).second) continue;
    ParamRole role = role_of(item.key(), item.value());
    const std::string error = role_error(role);
    if (!error.empty()) throw std::invalid_argument(item.key() + ": " + error);
    out.push_back({item.key(), item.value(), std::move(role)});
  }
  return out;
}

}  // namespace scalevec
