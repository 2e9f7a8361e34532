#include <torch/optim/optimizer.h>
#include <torch/serialize.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "optim/optimizer.hpp"
#include "optim/optimizer_parts.hpp"

// The optimizer's state: making it, fitting it to a parameter that has changed, naming it, taking it in.
namespace scalevec {

using torch::Tensor;

MethodOptions& method_options(torch::optim::OptimizerParamGroup& group) {
  auto* options = dynamic_cast<MethodOptions*>(&group.options());
  if (!options) throw std::invalid_argument("a parameter group's options are not of a scalevec method");
  return *options;
}

const MethodOptions& method_options(const torch::optim::OptimizerParamGroup& group) {
  return method_options(const_cast<torch::optim::OptimizerParamGroup&>(group));
}

std::string shape_text(c10::IntArrayRef sizes) {
  std::string text = "[";
  for (const auto n : sizes) text += (text.size() > 1 ? "," : "") + std::to_string(n);
  return text + "]";
}

Tensor ParamState::buffer(std::string_view name) const {
  const auto at = std::find(names.begin(), names.end(), name) - names.begin();
  return at < static_cast<std::ptrdiff_t>(names.size()) ? buffers[static_cast<size_t>(at)] : Tensor();
}

namespace {

torch::Dtype state_dtype(const Tensor& param) {
  return param.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

bool laid_out_like(const Tensor& param, const Method& method, const BufferSpec& spec) {
  return spec.kind != BufferSpec::Kind::held_norm && spec.kind != BufferSpec::Kind::numbers &&
         dynamic_cast<const ElementwiseMethod*>(&method) && param.is_non_overlapping_and_dense();
}

bool of_method(const BufferSpec& spec) { return spec.kind < BufferSpec::Kind::low_part; }

torch::Dtype buffer_dtype(const Tensor& param, const BufferSpec& spec) {
  switch (spec.kind) {
    case BufferSpec::Kind::low_part:
      return torch::kInt16;
    case BufferSpec::Kind::codes:
      return torch::kUInt8;
    case BufferSpec::Kind::numbers:
      return torch::kFloat64;
    default:
      return state_dtype(param);
  }
}

// Whether a kernel that steps `work` can use the buffer as it is.
bool fits(const Tensor& buffer, const Tensor& work, const Method& method, const BufferSpec& spec) {
  return buffer.scalar_type() == buffer_dtype(work, spec) &&
         (laid_out_like(work, method, spec) ? buffer.strides() == work.strides() : buffer.is_contiguous());
}

}  // namespace

std::vector<BufferSpec> state_of(const Tensor& param, std::int64_t row_blocks, const MethodOptions& options) {
  std::vector<BufferSpec> specs = options.implementation().state(options, param.sizes());
  specs.push_back({kHeldNorm, {row_blocks}, options.hold_norm(), BufferSpec::Kind::held_norm});
  specs.push_back({kLowPart, param.sizes().vec(), rounding_of(param, options) == kernels::Rounding::compensated,
                   BufferSpec::Kind::low_part});
  return specs;
}

Tensor new_buffer(const Tensor& param, const Method& method, const BufferSpec& spec, StateMemory& memory) {
  const auto dtype = buffer_dtype(param, spec);
  Tensor buffer = laid_out_like(param, method, spec) ? memory.zeros(spec.shape, param.strides(), dtype)
                                                     : memory.zeros(spec.shape, dtype);
  if (spec.fill) spec.fill(buffer);
  return buffer;
}

namespace {

// The same where the parameter lies. What starts at other values than zero is made on the CPU.
Tensor new_buffer_there(const Tensor& param, const Method& method, const BufferSpec& spec, StateMemory& memory) {
  if (param.is_cpu()) return new_buffer(param, method, spec, memory);
  if (spec.fill) return new_buffer(param, method, spec, memory).to(param.device());
  const auto options = torch::dtype(buffer_dtype(param, spec)).device(param.device());
  return laid_out_like(param, method, spec) ? at::empty_strided(spec.shape, param.strides(), options).zero_()
                                            : at::zeros(spec.shape, options);
}

}  // namespace

std::int64_t steps_of(const ParamState& state) {
  return state.device_step.defined() ? state.device_step.item<std::int64_t>() : state.step;
}

// The state as this step needs it, or null if `held` is that already. Buffers that fit are shared with `held`.
// `fresh`: buffers begin now, and not with the parameter's first step.
std::unique_ptr<ParamState> Optimizer::fitted_state(const Entry& e, const Tensor& work, bool on_device,
                                                    const ParamState* held, bool& fresh) {
  const Method& method = *e.method;
  if (held && held->method != e.options->method())
    throw std::invalid_argument(e.name + ": has state of method " + held->method + " and options of " +
                                std::string(e.options->method()) + "; reset_state() drops the state");
  auto made = std::make_unique<ParamState>(e.param, e.options->method());
  bool changed = !held;
  for (const BufferSpec& spec : state_of(e.param, e.row_blocks, *e.options)) {
    Tensor buffer = held ? held->buffer(spec.name) : Tensor();
    if (held && buffer.defined() != spec.needed && of_method(spec) && !method.buffers_may_change())
      throw std::invalid_argument(e.name + ": its options " + (spec.needed ? "now ask for" : "no longer ask for") +
                                  " the buffer " + spec.name + ", which its state " +
                                  (spec.needed ? "has not" : "has") + "; reset_state() starts the state anew");
    changed = changed || buffer.defined() != spec.needed;
    if (!spec.needed) continue;
    if (!buffer.defined()) {
      buffer = new_buffer_there(work, method, spec, memory_);
      fresh = fresh || (held && of_method(spec));
    } else if (!fits(buffer, work, method, spec)) {
      const Tensor before = buffer;
      buffer = new_buffer_there(work, method, spec, memory_);
      buffer.copy_(before);
      changed = true;
    }
    if (buffer.device() != work.device()) {
      buffer = buffer.to(work.device());
      changed = true;
    }
    made->names.push_back(spec.name);
    made->buffers.push_back(buffer);
  }
  if (on_device && held && held->device_step.defined() && held->device_step.device() == work.device()) {
    made->device_step = held->device_step;
    made->step = held->step;
  } else if (on_device || (held && held->device_step.defined())) {
    made->step = held ? steps_of(*held) : 0;
    if (on_device) made->device_step = torch::full({}, made->step, torch::dtype(torch::kInt64).device(work.device()));
    changed = true;
  } else if (held) {
    made->step = held->step;
  }
  return changed ? std::move(made) : nullptr;
}

// A copy of what was saved, as the state of `param`. `where` leads messages.
std::unique_ptr<ParamState> Optimizer::read_state(const Tensor& param, const MethodOptions& options,
                                                  const SavedParam& saved, const std::string& where) {
  const Method& method = options.implementation();
  auto state = std::make_unique<ParamState>(param, options.method());
  state->step = saved.step;
  const Identity* const known = identity(param);
  const auto specs = state_of(param, known ? known->row_blocks : 1, options);
  std::vector<std::string> names;
  if (saved.names)
    names = *saved.names;
  else
    for (const BufferSpec& spec : specs)
      if (spec.needed && of_method(spec)) names.push_back(spec.name);
  if (names.size() != saved.buffers.size())
    throw std::invalid_argument(where + " has " + std::to_string(saved.buffers.size()) + " buffers; allowed: " +
                                std::to_string(names.size()) + ", those of " + std::string(options.method()));
  for (const std::string& name : names)
    if (std::none_of(specs.begin(), specs.end(), [&](const BufferSpec& spec) { return spec.name == name; }))
      throw std::invalid_argument(where + "/" + name + " is no buffer of " + std::string(options.method()));
  for (const BufferSpec& spec : specs) {
    const auto at = static_cast<size_t>(std::find(names.begin(), names.end(), spec.name) - names.begin());
    if (at == names.size()) {
      if (spec.needed && of_method(spec) && !method.buffers_may_change())
        throw std::invalid_argument(where + "/" + spec.name + " is missing");
      continue;
    }
    const Tensor& buffer = saved.buffers[at];
    if (buffer.sizes() != c10::IntArrayRef(spec.shape))
      throw std::invalid_argument(where + "/" + spec.name + " has shape " + shape_text(buffer.sizes()) +
                                  "; allowed: " + shape_text(spec.shape));
    state->names.push_back(spec.name);
    state->buffers.push_back(new_buffer(param, method, spec, memory_));
    state->buffers.back().copy_(buffer);
  }
  return state;
}

std::vector<std::pair<std::string, Tensor>> Optimizer::named_state() const {
  std::vector<std::pair<std::string, Tensor>> out;
  for (size_t g = 0; g < param_groups_.size(); ++g) {
    for (size_t i = 0; i < param_groups_[g].params().size(); ++i) {
      const Tensor& param = param_groups_[g].params()[i];
      const auto it = state_.find(param.unsafeGetTensorImpl());
      if (it == state_.end()) continue;
      const auto& state = static_cast<const ParamState&>(*it->second);
      const std::string name = name_of(param, g, i);
      out.emplace_back(name + "/step", torch::tensor(steps_of(state), torch::kInt64));
      Tensor method = torch::empty({static_cast<std::int64_t>(state.method.size())}, torch::kUInt8);
      std::copy(state.method.begin(), state.method.end(), method.data_ptr<std::uint8_t>());
      out.emplace_back(name + "/method", method);
      for (size_t b = 0; b < state.buffers.size(); ++b) out.emplace_back(name + "/" + state.names[b], state.buffers[b]);
    }
  }
  return out;
}

std::vector<std::string> Optimizer::names() const {
  std::vector<std::string> out;
  for (size_t g = 0; g < param_groups_.size(); ++g)
    for (size_t i = 0; i < param_groups_[g].params().size(); ++i)
      out.push_back(name_of(param_groups_[g].params()[i], g, i));
  return out;
}

void Optimizer::load_named_state(const std::vector<std::pair<std::string, Tensor>>& entries) {
  check_layout();
  std::map<std::string, Tensor> left;
  for (const auto& [name, tensor] : entries)
    if (!left.emplace(name, tensor).second) throw std::invalid_argument("optimizer state: " + name + " is given twice");
  decltype(state_) loaded;
  for (const Entry& e : entries_) {
    const auto steps = left.find(e.name + "/step");
    if (steps == left.end()) continue;
    const std::string where = "optimizer state: " + e.name;
    SavedParam saved;
    saved.step = steps->second.item<std::int64_t>();
    if (saved.step < 0)
      throw std::invalid_argument(where + "/step: got " + std::to_string(saved.step) + "; allowed: 0 and more");
    left.erase(steps);
    if (const auto at = left.find(e.name + "/method"); at != left.end()) {
      const Tensor bytes = at->second.to(torch::kCPU, torch::kUInt8).contiguous();
      const std::string method(reinterpret_cast<const char*>(bytes.data_ptr<std::uint8_t>()),
                               static_cast<size_t>(bytes.numel()));
      if (method != e.options->method())
        throw std::invalid_argument(where + " is of method " + method +
                                    "; allowed: " + std::string(e.options->method()));
      left.erase(at);
    }
    saved.names.emplace();
    for (const BufferSpec& spec : state_of(e.param, e.row_blocks, *e.options)) {
      const auto at = left.find(e.name + "/" + spec.name);
      if (at == left.end()) continue;
      saved.names->push_back(spec.name);
      saved.buffers.push_back(at->second);
      left.erase(at);
    }
    auto state = read_state(e.param, *e.options, saved, where);
    if (owned(e.name)) loaded[e.param.unsafeGetTensorImpl()] = std::move(state);
  }
  if (!left.empty())
    throw std::invalid_argument("optimizer state: " + left.begin()->first + " belongs to no parameter here");
  std::swap(state_, loaded);
  for (Entry& e : entries_) e.fitted = false;
}

void Optimizer::reset_state(const Tensor& param) {
  check_layout();
  if (std::none_of(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.param.is_same(param); }))
    throw std::invalid_argument("reset_state(): the parameter is not in the optimizer");
  state_.erase(param.unsafeGetTensorImpl());
}

namespace {

// `rows` resolved: for each row of the new parameter the old one's, or -1.
std::vector<std::int64_t> resolved(const KeepRows& rows, std::int64_t old_rows, std::int64_t new_rows,
                                   const std::string& name) {
  std::vector<std::int64_t> from = rows.from;
  if (from.empty()) {
    from.resize(static_cast<size_t>(new_rows), -1);
    std::iota(from.begin(), from.begin() + std::min(old_rows, new_rows), 0);
  }
  if (static_cast<std::int64_t>(from.size()) != new_rows)
    throw std::invalid_argument(name + ": rows are given for " + std::to_string(from.size()) +
                                " rows; allowed: " + std::to_string(new_rows));
  for (const std::int64_t row : from)
    if (row < -1 || row >= old_rows)
      throw std::invalid_argument(name + ": row " + std::to_string(row) + " of the old parameter; allowed: -1 to " +
                                  std::to_string(old_rows - 1));
  return from;
}

Tensor moved_rows(const Tensor& buffer, const std::vector<std::int64_t>& from) {
  std::vector<std::int64_t> sizes = buffer.sizes().vec(), to, source;
  sizes[0] = static_cast<std::int64_t>(from.size());
  for (size_t i = 0; i < from.size(); ++i)
    if (from[i] >= 0) {
      to.push_back(static_cast<std::int64_t>(i));
      source.push_back(from[i]);
    }
  const auto index = [&](const std::vector<std::int64_t>& rows) {
    return torch::tensor(rows, torch::kInt64).to(buffer.device());
  };
  Tensor out = at::zeros(sizes, buffer.options());
  if (!to.empty()) out.index_copy_(0, index(to), buffer.index_select(0, index(source)));
  return out;
}

}  // namespace

void Optimizer::replace_param(const Tensor& old, const Tensor& replacement, const KeepRows& rows) {
  const torch::NoGradGuard no_grad;
  Tensor* place = nullptr;
  std::string name;
  if (!replacement.defined()) throw std::invalid_argument("replace_param(): the new parameter is undefined");
  for (size_t g = 0; g < param_groups_.size(); ++g)
    for (size_t i = 0; i < param_groups_[g].params().size(); ++i) {
      Tensor& param = param_groups_[g].params()[i];
      if (param.is_same(old)) {
        place = &param;
        name = name_of(param, g, i);
      } else if (param.is_same(replacement)) {
        throw std::invalid_argument(name_of(param, g, i) + ": the new parameter is in the optimizer already");
      }
    }
  if (!place) throw std::invalid_argument("replace_param(): the old parameter is not in the optimizer");

  void* const key = replacement.unsafeGetTensorImpl();
  const auto stored = state_.find(old.unsafeGetTensorImpl());
  std::unique_ptr<torch::optim::OptimizerParamState> moved;
  if (stored != state_.end()) {
    const auto& held = static_cast<const ParamState&>(*stored->second);
    const c10::IntArrayRef before(held.sizes), after = replacement.sizes();
    if (before.size() != after.size() || (!before.empty() && before.slice(1) != after.slice(1)))
      throw std::invalid_argument(name + ": shape " + shape_text(after) + "; allowed: " + shape_text(before) +
                                  " with any number of rows");
    auto state = std::make_unique<ParamState>(held);
    state->of = c10::weak_intrusive_ptr<c10::TensorImpl>(replacement.getIntrusivePtr());
    state->sizes = after.vec();
    if (!before.empty()) {
      const std::vector<std::int64_t> from = resolved(rows, before[0], after[0], name);
      bool moves = before[0] != after[0];
      for (size_t i = 0; i < from.size(); ++i) moves = moves || from[i] != static_cast<std::int64_t>(i);
      const auto options = make_method_options(held.method);
      if (moves && !held.buffers.empty() && options && !options->implementation().rows_may_move())
        throw std::invalid_argument(name + ": the state of " + held.method +
                                    " is not by row; reset_state() before it drops the state");
      // Of other rows the norm is another: it is noted anew.
      const auto norm = std::find(state->names.begin(), state->names.end(), kHeldNorm) - state->names.begin();
      if (moves && norm < static_cast<std::ptrdiff_t>(state->names.size())) {
        state->names.erase(state->names.begin() + norm);
        state->buffers.erase(state->buffers.begin() + norm);
      }
      for (size_t b = 0; moves && b < state->buffers.size(); ++b)
        if (state->names[b] != kNumbers) state->buffers[b] = moved_rows(state->buffers[b], from);
    }
    moved = std::move(state);
  }

  auto identities = identities_;
  if (const auto known = identities.find(old.unsafeGetTensorImpl()); known != identities.end()) {
    Identity identity = known->second;
    identity.tensor = c10::weak_intrusive_ptr<c10::TensorImpl>(replacement.getIntrusivePtr());
    identities.erase(known);
    identities.insert_or_assign(key, std::move(identity));
  }
  const Tensor kept = *place;  // `old` may be the place itself
  std::unique_ptr<torch::optim::OptimizerParamState> before;
  if (stored != state_.end()) {
    before = std::move(stored->second);
    state_.erase(stored);
  }
  std::swap(identities, identities_);
  try {
    if (moved) state_[key] = std::move(moved);
    *place = replacement;
    check_layout(/*anew=*/true);
  } catch (...) {
    std::swap(identities, identities_);
    *place = kept;
    state_.erase(key);
    if (before) state_[kept.unsafeGetTensorImpl()] = std::move(before);
    throw;
  }
}

}  // namespace scalevec
